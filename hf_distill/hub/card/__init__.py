"""Cards for the Hub: the card of a student, and the card of a dataset with a teacher's logits."""
