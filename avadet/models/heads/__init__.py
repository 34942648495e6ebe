"""From maps and boxes to logits."""
