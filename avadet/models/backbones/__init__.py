"""Backbones: a normalised clip (B, 3, T, H, W) in, maps (B, C, T, H, W) out; no boxes, no classes."""
