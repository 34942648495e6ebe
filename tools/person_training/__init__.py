"""Training of the bundled person detector: from pictures to weights; `tools/train_persons.py` runs it."""
