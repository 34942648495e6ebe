"""Scores of detections against ground truth; arrays in, numbers out."""
