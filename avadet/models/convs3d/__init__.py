"""3-D convolutional backbones: one file a paper, published sizes at its end."""
