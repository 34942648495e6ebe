"""What makes a loaded model run fast, writes it as a graph, or takes it apart."""
