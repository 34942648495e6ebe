"""Find every person in a video and say what each one is doing, second by second."""

__version__ = "0.1.0"
