"""TextBrewer's GeneralDistiller.

Its soft loss has no factor T^2, so the weight includes it. Its soft cross-entropy has the gradient of KL, but its
value is higher by the teacher's entropy. It always saves the student at the end of training.
"""

from pathlib import Path
from types import SimpleNamespace

import torch.distributed as dist
from job import NUM_PROCESSES, RANK, Job, run
from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig
from transformers import PreTrainedModel


def adaptor(batch: dict, outputs: object) -> dict:
    """Return the parts of a model's outputs that the distiller reads."""
    return {"logits": outputs.logits, "losses": outputs.loss}


def train(job: Job, student: PreTrainedModel, teacher: PreTrainedModel) -> float:
    output_dir = Path(job.folder, "textbrewer")
    output_dir.mkdir(exist_ok=True)
    if NUM_PROCESSES > 1:
        dist.init_process_group("gloo")
    loader = job.loader()
    distiller = GeneralDistiller(
        TrainingConfig(
            device="cpu",
            output_dir=str(output_dir),
            gradient_accumulation_steps=job.accumulation_steps,
            ckpt_epoch_frequency=job.num_epochs,
            local_rank=RANK if NUM_PROCESSES > 1 else -1,
        ),
        DistillationConfig(
            temperature=job.temperature,
            kd_loss_weight=(1 - job.alpha) * job.temperature**2,
            hard_label_weight=job.alpha,
        ),
        teacher,
        student,
        adaptor,
        adaptor,
    )
    totals: list[float] = []
    if job.is_check:  # it only logs to a tensorboard writer, which the timed job does not have
        distiller.tb_writer = SimpleNamespace(
            add_scalar=lambda name, value, _: totals.append(value) if name == "scalar/total_loss" else None
        )
    with distiller:
        distiller.train(
            job.optimizer(student.parameters()),
            loader,
            num_epochs=job.num_epochs,
            scheduler_class=job.schedule,
            scheduler_args={"num_batches": len(loader)},
            max_grad_norm=job.max_grad_norm or -1.0,
        )
    return sum(totals) / len(totals) if totals else None


if __name__ == "__main__":
    run(train)
