"""The plain Trainer on the labels: the time of the same student without a teacher."""

from job import Job, run
from transformers import PreTrainedModel, Trainer, TrainingArguments


def train(job: Job, student: PreTrainedModel, teacher: PreTrainedModel) -> float | None:
    args = TrainingArguments(**job.training_arguments())
    trainer = Trainer(student, args, data_collator=job.collate(), train_dataset=job.load_rows())
    trainer.train()
    return trainer.state.log_history[0].get("loss")


if __name__ == "__main__":
    run(train)
