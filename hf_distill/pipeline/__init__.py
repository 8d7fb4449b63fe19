"""The steps from data and a teacher to an evaluated student, which `hf-distill train` and the examples are made of."""

from importlib import import_module
from typing import Any

# Name -> module, imported on first use: every command reads the options of some steps, few need the Trainer.
_MODULES = {
    "DistillationInputs": "inputs",
    "ModelReference": "loading",
    "Plan": "plan",
    "StudentOptions": "student",
    "TransferOptions": "transfer",
    "TransferSet": "transfer",
    "check_teacher": "teacher_fit",
    "check_training": "training",
    "describe_history": "evaluation",
    "describe_latency": "evaluation",
    "describe_run": "evaluation",
    "evaluate": "evaluation",
    "evaluate_test": "evaluation",
    "fine_tune": "fine_tuning",
    "fine_tune_teacher": "fine_tuning",
    "limit_rows": "loading",
    "load_inputs": "inputs",
    "load_tokenizer": "loading",
    "load_transfer": "transfer",
    "load_with_new_head": "loading",
    "make_plan": "plan",
    "make_student": "student",
    "make_trainer": "training",
    "measure_teacher": "teacher_fit",
    "select_transfer_rows": "inputs",
    "train": "training",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hf_distill.pipeline' has no attribute {name!r}")
    return getattr(import_module(f"hf_distill.pipeline.{_MODULES[name]}"), name)
