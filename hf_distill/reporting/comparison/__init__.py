"""The numbers of a report: outputs, scores and costs of several models on the same rows."""
