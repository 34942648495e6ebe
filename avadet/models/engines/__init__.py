"""Running a loaded model fast, writing it as a graph, and summarising it."""
