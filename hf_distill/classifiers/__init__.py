"""What a classifier is here: its outputs, its problem type, its labels, how it runs and where its weights are."""
