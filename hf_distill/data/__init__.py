"""Data: the GLUE tasks, any dataset with text and label columns, and the metrics to compare models by."""

from hf_distill.classifiers.label_order import name_teacher_logits
from hf_distill.data.augment import augment_texts
from hf_distill.data.compute_metrics import as_compute_metrics
from hf_distill.data.files import load_text_dataset
from hf_distill.data.glue import GLUE_TASKS, load_task
from hf_distill.data.labelled import with_teacher_logits, write_labelled
from hf_distill.data.labels.spelling import sort_names
from hf_distill.data.masking import MaskingCollator, chunk_texts, mask_once
from hf_distill.data.model_order import reorder_labels
from hf_distill.data.soft_labels import soft_labels
from hf_distill.data.summary import DataSummary
from hf_distill.data.task import Task
from hf_distill.data.teacher_file import read_teacher
from hf_distill.data.tokens import TokenCollator, tokenize_words
from hf_distill.data.transfer import (
    drop_near_duplicates,
    find_near_duplicates,
    mix_sources,
    out_of_domain_share,
    select_by_teacher,
    teacher_confidence,
)
from hf_distill.data.transfer_text import load_transfer_text
from hf_distill.data.unlabelled import has_labels, hold_out_of_train, hold_out_texts, unlabelled_task
from hf_distill.data.word_proposals import WordProposals

__all__ = [
    "GLUE_TASKS",
    "DataSummary",
    "MaskingCollator",
    "Task",
    "TokenCollator",
    "WordProposals",
    "as_compute_metrics",
    "augment_texts",
    "chunk_texts",
    "drop_near_duplicates",
    "find_near_duplicates",
    "has_labels",
    "hold_out_of_train",
    "hold_out_texts",
    "load_task",
    "load_text_dataset",
    "load_transfer_text",
    "mask_once",
    "mix_sources",
    "name_teacher_logits",
    "out_of_domain_share",
    "read_teacher",
    "reorder_labels",
    "select_by_teacher",
    "soft_labels",
    "sort_names",
    "teacher_confidence",
    "tokenize_words",
    "unlabelled_task",
    "with_teacher_logits",
    "write_labelled",
]
