"""From annotations and videos to training batches."""
