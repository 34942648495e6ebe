"""What is wrong with a data set's files, found before training finds it. `run.check_annotations` does it all."""
