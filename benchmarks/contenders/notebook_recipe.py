"""The Trainer subclass that many notebooks use, with the smallest change that makes it run on transformers 5.

The only change is `num_items_in_batch` in the signature of `compute_loss`, which Trainer passes.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from job import Job, run
from transformers import PreTrainedModel, Trainer, TrainingArguments


class NotebookTrainer(Trainer):
    """Adds the soft loss to the student's loss on the labels."""

    def __init__(self, *args, teacher: PreTrainedModel, temperature: float, alpha: float, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.teacher = teacher.eval()
        self.temperature, self.alpha = temperature, alpha

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return a * CE + (1 - a) * T^2 * KL of a micro-batch."""
        outputs = model(**inputs)
        with torch.no_grad():
            teacher_outputs = self.teacher(**inputs)
        soft_loss = nn.KLDivLoss(reduction="batchmean")(
            F.log_softmax(outputs.logits / self.temperature, dim=-1),
            F.softmax(teacher_outputs.logits / self.temperature, dim=-1),
        )
        loss = self.alpha * outputs.loss + (1 - self.alpha) * self.temperature**2 * soft_loss
        return (loss, outputs) if return_outputs else loss


def train(job: Job, student: PreTrainedModel, teacher: PreTrainedModel) -> float | None:
    trainer = NotebookTrainer(
        student,
        TrainingArguments(**job.training_arguments()),
        teacher=teacher,
        temperature=job.temperature,
        alpha=job.alpha,
        data_collator=job.collate(),
        train_dataset=job.load_rows(),
    )
    trainer.train()
    return trainer.state.log_history[0].get("loss")


if __name__ == "__main__":
    run(train)
