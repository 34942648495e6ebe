"""Drawn persons who move: videos of which every person, box and action is known."""
