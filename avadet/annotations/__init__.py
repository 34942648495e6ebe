"""Annotation files of data sets, read into arrays and written back."""
