"""What `DistillationTrainer` holds: none of these modules subclasses `transformers.Trainer`."""
