"""Data: the GLUE tasks, any data set with text and label columns, and the metrics to compare models by."""

from hf_distill.data.files import load_text_dataset, load_transfer_text, unlabelled_task
from hf_distill.data.glue import GLUE_TASKS, load_task
from hf_distill.data.labelled import read_teacher, with_teacher_logits, write_labelled
from hf_distill.data.metrics import as_compute_metrics
from hf_distill.data.soft_labels import soft_labels
from hf_distill.data.task import Task
from hf_distill.data.tokens import TokenCollator, tokenize_words

__all__ = [
    "GLUE_TASKS",
    "Task",
    "TokenCollator",
    "as_compute_metrics",
    "load_task",
    "load_text_dataset",
    "load_transfer_text",
    "read_teacher",
    "soft_labels",
    "tokenize_words",
    "unlabelled_task",
    "with_teacher_logits",
    "write_labelled",
]
