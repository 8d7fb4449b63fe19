"""zynthe's DistillationToolkit with its preset, without the preset's additions to Hinton's loss.

These additions are weights of rows by the teacher's confidence and an annealed temperature. `multi_stage` must be true
even for one stage: otherwise the toolkit silently ignores the settings of the stage, including the preset's. Its
`alpha` is the weight of the soft loss. It has cosine, step and plateau schedules, but no linear schedule; cosine is
used. Its AdamW is not fused, and it saves the student and a report at the end.
"""

from pathlib import Path

from job import NUM_PROCESSES, Job, Unsupported, run
from transformers import PreTrainedModel
from zynthe import DistillationToolkit


def train(job: Job, student: PreTrainedModel, teacher: PreTrainedModel) -> float:
    if job.accumulation_steps > 1:
        raise Unsupported("the toolkit does not accumulate")
    if NUM_PROCESSES > 1:
        raise Unsupported("the toolkit supports one process")
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
            "alpha": 1 - job.alpha,  # otherwise the plan's schedule of loss weights replaces it
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
