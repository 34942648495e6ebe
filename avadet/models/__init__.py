"""Backbones, heads and whole models, their weights, and the zoo that builds them by name."""
