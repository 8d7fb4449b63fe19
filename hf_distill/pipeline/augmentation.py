"""Variants of the labelled texts of a run, which its teacher labels as unlabelled text."""

import logging
from collections import Counter
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.classifiers.token_ids import word_embeddings
from hf_distill.data import Task, augment_texts, find_near_duplicates
from hf_distill.data.augment import DEFAULT_METHODS, SOURCE_ROW
from hf_distill.pipeline.transfer import TransferSet

logger = logging.getLogger(__name__)


def add_variants(
    transfer: TransferSet | None,
    task: Task,
    teacher: PreTrainedModel,
    teacher_tokenizer: PreTrainedTokenizerBase,
    student_tokenizer: PreTrainedTokenizerBase,
    copies: int,
) -> TransferSet:
    """Add variants of the training texts to the transfer set of a run.

    Variants that are near-duplicates of an evaluation text are dropped. Words are masked only if teacher and student
    have the same mask token.

    Args:
        transfer: The unlabelled text of the run; None if there is none.
        task: The task, with labelled rows to train on.
        teacher: The teacher, whose embedding table says which words are similar.
        teacher_tokenizer: The teacher's tokenizer.
        student_tokenizer: The student's tokenizer.
        copies: Number of variants of each row.

    Returns:
        The transfer set with the variants after its texts, and an entry `augmentation` in its report.

    Raises:
        ValueError: if there is no labelled row to train on, if no text can be varied, or as
            [`~hf_distill.data.augment_texts`] does.
    """
    if "train" not in task.datasets:
        raise ValueError("--augment varies labelled texts, and there are none. Name labelled rows, or leave it out.")
    methods = dict(DEFAULT_METHODS)
    if teacher_tokenizer.mask_token is None or teacher_tokenizer.mask_token != student_tokenizer.mask_token:
        del methods["mask"]
    columns = list(task.text_columns)
    embeddings = word_embeddings(teacher).cpu().numpy()
    variants = augment_texts(
        task.datasets["train"],
        text_columns=columns,
        tokenizer=teacher_tokenizer,
        embeddings=embeddings,
        methods=methods,
        copies=copies,
    )
    report: dict[str, Any] = {"copies": copies, "methods": methods, "made": len(variants)}
    variants, report["near_duplicates_of"] = _without_evaluation_texts(variants, task)
    report["variants"] = len(variants)
    sources = np.asarray(variants[SOURCE_ROW])
    text = variants.select_columns(columns)
    if transfer is None:
        problem_type = PROBLEM_TYPES[task.problem_type]
        transfer = TransferSet(text, problem_type, None, {"sources": [], "not_drawn": 0, "rows": len(text)})
    else:
        transfer.text = concatenate_datasets([transfer.text.select_columns(columns), text])
        transfer.report["rows"] = len(transfer.text)
    transfer.report["augmentation"] = report
    transfer.source_rows = sources
    return transfer


def _without_evaluation_texts(variants: Dataset, task: Task) -> tuple[Dataset, dict[str, int]]:
    evaluation = {name: split for name, split in task.datasets.items() if name != "train"}
    duplicate_of = find_near_duplicates(variants, task.text_columns, against=evaluation)
    names = [name if name in evaluation else None for name in duplicate_of]  # near-duplicates among variants are fine
    return variants.select(np.flatnonzero([name is None for name in names])), dict(Counter(filter(None, names)))
