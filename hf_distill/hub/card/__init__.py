"""Cards for the Hub: of a student, and of a data set with a teacher's logits."""
