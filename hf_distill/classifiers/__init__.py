"""Classifiers: their outputs, label names, problem types and placement, and how the library runs them."""
