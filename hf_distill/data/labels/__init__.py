"""Read label columns: cells, problem type, and classes."""
