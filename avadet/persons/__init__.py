"""Finding people in a frame and following them from frame to frame."""
