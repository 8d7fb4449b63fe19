"""zynthe's DistillationToolkit: its preset, with what the preset adds to Hinton's loss switched off.

Those are the weighting of rows by the teacher's confidence and the annealing of the temperature. `multi_stage` has to
be true even for one stage: without it the stage's settings, the preset's own among them, are passed over in silence.
Its `alpha` is the soft loss's weight. Of schedules it knows cosine, step and plateau: the cosine stands in for the
linear one. Its AdamW is not the fused one, and it saves the student and a report at the end.
"""

from pathlib import Path

from job import NUM_PROCESSES, Job, Unsupported, run
from transformers import PreTrainedModel
from zynthe import DistillationToolkit


def train(job: Job, student: PreTrainedModel, teacher: PreTrainedModel) -> float:
    if job.accumulation_steps > 1:
        raise Unsupported("the toolkit does not accumulate")
    if NUM_PROCESSES > 1:
        raise Unsupported("the toolkit knows one process")
    toolkit = DistillationToolkit(teacher, student, device="cpu")
    hinton = {
        "temperature": job.temperature,
        "alpha": 1 - job.alpha,
        "hint_enabled": False,
        "confidence_scaling": False,
        "temperature_scheduler": {"type": "constant"},
    }
    stage = {
        "name": "logits",
        "type": "kd",
        "epochs": job.num_epochs,
        "config": {
            "kd_hinton": hinton,
            "temperature": job.temperature,
            "alpha": 1 - job.alpha,  # or the plan's schedule of loss weights would take its place
            "lr": job.learning_rate,
            "weight_decay": 0.0,
            "optimizer": "sgd" if job.is_check else "adamw",
            "scheduler": "none" if job.is_check else "cosine",
            "grad_clip": job.max_grad_norm or None,
        },
    }
    plan = toolkit.build_plan(
        preset="quick_start", overrides={"distillation": {"multi_stage": True, "stages": [stage]}}
    )
    report = toolkit.run(plan, job.loader(), None, output_dir=str(Path(job.folder, "zynthe")))
    return report["stages"][0]["metrics"]["train_loss"] if job.is_check else None


if __name__ == "__main__":
    run(train)
