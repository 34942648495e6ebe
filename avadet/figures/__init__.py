"""Drawn people who move: videos whose people, boxes and actions are known."""
