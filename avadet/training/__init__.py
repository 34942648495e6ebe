"""Training: the loop, its parts, and scoring on a data set."""
