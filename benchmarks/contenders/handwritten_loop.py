"""A hand-written PyTorch loop that runs the teacher on every batch; all others are compared with it."""

import torch
import torch.nn.functional as F
from job import Batch, Job, run
from loop import fit
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel


def paired_loader(job: Job) -> DataLoader:
    """Return pairs of batches, one with the student's token ids and one with the teacher's."""
    collate, collate_teacher = job.collate(), job.collate(job.teacher)
    pairs = list(zip(job.load_rows(), job.load_teacher_rows(), strict=True))
    return job.loader(
        pairs, lambda batch: (collate([row for row, _ in batch]), collate_teacher([row for _, row in batch]))
    )


def train(job: Job, student: PreTrainedModel, teacher: PreTrainedModel) -> float:
    def loss_of(model: nn.Module, batch: Batch | tuple[Batch, Batch]) -> Tensor:
        inputs, teacher_inputs = batch if job.teacher_rows else (batch, batch)
        inputs = dict(inputs)
        labels = inputs.pop("labels")
        logits = model(**inputs).logits
        with torch.no_grad():
            teacher_logits = teacher(**{k: v for k, v in teacher_inputs.items() if k != "labels"}).logits
        student_log_probs = F.log_softmax(logits / job.temperature, dim=-1)
        teacher_probs = F.softmax(teacher_logits / job.temperature, dim=-1)
        kl = F.kl_div(student_log_probs, teacher_probs, reduction="batchmean")
        return job.alpha * F.cross_entropy(logits, labels) + (1 - job.alpha) * job.temperature**2 * kl

    return fit(job, student, paired_loader(job) if job.teacher_rows else job.loader(), loss_of)


if __name__ == "__main__":
    run(train)
