"""What puts backbones and heads together: clips and boxes in, logits out."""
