"""hf_distill with a live teacher, which runs on every batch."""

from job import Job, run
from transformers import PreTrainedModel

from hf_distill import DistillationTrainer, DistillationTrainingArguments


def arguments(job: Job, **changes) -> DistillationTrainingArguments:
    """Return the job's training arguments for hf_distill."""
    return DistillationTrainingArguments(
        **job.training_arguments(),
        temperature=job.temperature,
        soft_label_weight=1 - job.alpha,
        hard_label_weight=job.alpha,
        **changes,
    )


def train(job: Job, student: PreTrainedModel, teacher: PreTrainedModel) -> float | None:
    trainer = DistillationTrainer(
        student,
        teacher,
        arguments(job),
        data_collator=job.collate(),
        train_dataset=job.load_rows(),
        processing_class=job.tokenizer(job.student),
    )
    trainer.train()
    return trainer.state.log_history[0].get("loss")


if __name__ == "__main__":
    run(train)
