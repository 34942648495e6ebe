"""Video: open, seek, decode, sample clips, draw, encode."""
