"""Knowledge distillation of text classifiers with Hugging Face Transformers."""

from importlib import import_module
from typing import Any

# Name -> module. Imported on first use: a user who only wants the loss does not wait for the Trainer.
_PUBLIC = {
    "GLUE_TASKS": "hf_distill.data",
    "DistillationTrainer": "hf_distill.trainer",
    "DistillationTrainingArguments": "hf_distill.training_args",
    "Predictor": "hf_distill.export",
    "TeacherCache": "hf_distill.cache",
    "TeacherEnsemble": "hf_distill.teachers",
    "compare_models": "hf_distill.reporting",
    "create_static_student": "hf_distill.students",
    "create_student": "hf_distill.students",
    "export_model": "hf_distill.export",
    "load_task": "hf_distill.data",
    "soft_loss": "hf_distill.functional",
    "trim_vocabulary": "hf_distill.students",
}

__version__ = "0.1.0"
__all__ = [  # noqa: RUF022 (in the order in which a user meets them)
    "DistillationTrainer",
    "DistillationTrainingArguments",
    "create_student",
    "create_static_student",
    "TeacherCache",
    "TeacherEnsemble",
    "compare_models",
    "export_model",
    "Predictor",
    "trim_vocabulary",
    "load_task",
    "GLUE_TASKS",
    "soft_loss",
]


def __dir__() -> list[str]:
    """Return the names that a notebook completes, those that are not imported yet among them."""
    return sorted({*globals(), *_PUBLIC})


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'hf_distill' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
