"""hf_distill with an empty cache: the teacher runs once on every distinct text before the first step."""

from pathlib import Path

from datasets import concatenate_datasets
from hf_distill_live import arguments
from job import Job, run
from transformers import PreTrainedModel

from hf_distill import DistillationTrainer, TeacherCache


def train(job: Job, student: PreTrainedModel, teacher: PreTrainedModel) -> float | None:
    rows, cache_dir = job.load_rows(), str(Path(job.folder, "cache"))
    if job.teacher_rows:  # the teacher has another tokenizer: label its rows, and add the column to the student's
        cache = TeacherCache(cache_dir, teacher, job.tokenizer(job.teacher))
        labelled = cache.label(job.load_teacher_rows()).select_columns("teacher_logits")
        rows = concatenate_datasets([rows, labelled], axis=1)
    trainer = DistillationTrainer(
        student,
        None if job.teacher_rows else teacher,
        arguments(job, cache_teacher_outputs=not job.teacher_rows, teacher_cache_dir=cache_dir),
        data_collator=job.collate(),
        train_dataset=rows,
        processing_class=job.tokenizer(job.student),
    )
    trainer.train()
    return trainer.state.log_history[0].get("loss")


if __name__ == "__main__":
    run(train)
