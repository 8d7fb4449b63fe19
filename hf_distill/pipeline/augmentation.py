"""Variants of the labelled texts of a run, which its teacher labels as unlabelled text."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from transformers import MODEL_FOR_MASKED_LM_MAPPING, PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.auto import AutoConfig, AutoModelForMaskedLM
from hf_distill.classifiers.loading import explaining_load_errors, load_pretrained
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.classifiers.token_ids import word_embeddings
from hf_distill.data import Task, augment_texts, find_near_duplicates
from hf_distill.data.augment import DEFAULT_METHODS, SOURCE_ROW
from hf_distill.data.word_proposals import WordProposals
from hf_distill.pipeline.loading import ModelReference, load_tokenizer
from hf_distill.pipeline.transfer import TransferSet
from hf_distill.record import describe_model
from hf_distill.training.labelled_rows import are_labelled
from hf_distill.utils.main_process import on_main_process


@dataclass(frozen=True)
class Augmentation:
    """Which variants a run makes of its labelled texts.

    Args:
        copies: Number of variants of each text.
        masked_lm: A masked language model that proposes words; None for neighbors in the teacher's embedding table.
    """

    copies: int
    masked_lm: ModelReference | None = None


def add_variants(
    transfer: TransferSet | None,
    task: Task,
    teacher: PreTrainedModel,
    teacher_tokenizer: PreTrainedTokenizerBase,
    student_tokenizer: PreTrainedTokenizerBase,
    augmentation: Augmentation,
    *,
    max_length: int = 128,
    device: torch.device | None = None,
) -> TransferSet:
    """Add variants of the training texts to the transfer set of a run.

    Variants that are near-duplicates of an evaluation text are dropped. Words are masked only if teacher and student
    have the same mask token. The main process makes the variants, and every process gets the same ones.

    Args:
        transfer: The unlabelled text of the run; None if there is none.
        task: The task, with labelled rows to train on.
        teacher: The teacher, whose embedding table says which words are similar.
        teacher_tokenizer: The teacher's tokenizer.
        student_tokenizer: The student's tokenizer.
        augmentation: Which variants to make.
        max_length: Number of tokens after which the models cut texts.
        device: The device of the masked language model.

    Returns:
        The transfer set with the variants after its texts, and an entry `augmentation` in its report.

    Raises:
        OSError: if the masked language model cannot be loaded.
        ValueError: if there is no labelled row to train on, if no text can be varied, if the masked language model has
            no head for masked words, or as [`~hf_distill.data.augment_texts`] does.
    """
    if "train" not in task.datasets:
        raise ValueError("--augment varies labelled texts, and there are none. Name labelled rows, or leave it out.")
    methods = dict(DEFAULT_METHODS)
    if augmentation.masked_lm is not None:
        methods = {"masked_lm": methods.pop("neighbors"), **methods}
    if teacher_tokenizer.mask_token is None or teacher_tokenizer.mask_token != student_tokenizer.mask_token:
        del methods["mask"]
    columns, copies, rows = list(task.text_columns), augmentation.copies, _find_labelled_rows(task)
    labelled = task.datasets["train"].select(rows)

    def make() -> tuple[dict[str, list[Any]], dict[str, Any]]:
        proposals, description = None, {}
        if augmentation.masked_lm is not None:
            proposals = _load_proposals(augmentation.masked_lm, max_length, device)
            description["masked_lm"] = describe_model(proposals.model)
        variants = augment_texts(
            labelled,
            text_columns=columns,
            tokenizer=teacher_tokenizer,
            embeddings=word_embeddings(teacher).cpu().numpy(),
            methods=methods,
            proposals=proposals,
            copies=copies,
            max_length=max_length,
        )
        return variants.to_dict(), description

    # What a model proposes can differ between devices, and all processes must train on the same rows.
    made, description = on_main_process(make)
    variants, asked = Dataset.from_dict(made), copies * len(labelled)
    report: dict[str, Any] = {
        "copies": copies,
        "methods": methods,
        "asked": asked,
        "made": len(variants),
        **description,
    }
    variants, report["near_duplicates_of"] = _without_evaluation_texts(variants, task)
    report["variants"] = len(variants)
    sources = rows[np.asarray(variants[SOURCE_ROW])]
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


def _find_labelled_rows(task: Task) -> np.ndarray:
    """Return the numbers of the training rows that have a label."""
    train = task.datasets["train"]
    if task.has_words:
        return np.flatnonzero([any(label >= 0 for label in labels) for labels in train["label"]])
    targets = Dataset.from_dict({"labels": task.targets(train)})
    return np.flatnonzero(are_labelled(targets, PROBLEM_TYPES[task.problem_type]))


def _load_proposals(reference: ModelReference, max_length: int, device: torch.device | None) -> WordProposals:
    name = reference.name_or_path
    remedy = "Use a masked language model that was saved with this head, for example bert-base-uncased."
    with explaining_load_errors("The masked language model", name):
        revision = reference.revision or "main"
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        if type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
            raise ValueError(
                f"{name} is a model with a {type(config).__name__}, which has no head for masked words. {remedy}"
            )
        model, missing = load_pretrained(AutoModelForMaskedLM, name, {"revision": revision, "dtype": "float32"})
    if missing:
        raise ValueError(
            f"{name} has no weights for {', '.join(missing)}, so the words that it proposes would be random. {remedy}"
        )
    if device is not None:
        torch.nn.Module.to(model, device)
    return WordProposals(model, load_tokenizer(reference, for_words=True), max_length)


def _without_evaluation_texts(variants: Dataset, task: Task) -> tuple[Dataset, dict[str, int]]:
    evaluation = {name: split for name, split in task.datasets.items() if name != "train"}
    duplicate_of = find_near_duplicates(variants, task.text_columns, against=evaluation)
    names = [name if name in evaluation else None for name in duplicate_of]  # near-duplicates among variants are fine
    return variants.select(np.flatnonzero([name is None for name in names])), dict(Counter(filter(None, names)))
