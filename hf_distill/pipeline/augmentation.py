"""Variants of the labelled texts of a run, which its teacher labels as unlabelled text."""

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from transformers import MODEL_FOR_MASKED_LM_MAPPING, PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.auto import AutoConfig, AutoModelForMaskedLM
from hf_distill.classifiers.loading import describe_load_error, load_pretrained
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.classifiers.token_ids import word_embeddings
from hf_distill.data import Task, augment_texts, find_near_duplicates
from hf_distill.data.augment import DEFAULT_METHODS, SOURCE_ROW
from hf_distill.data.word_proposals import WordProposals
from hf_distill.pipeline.loading import ModelReference, load_tokenizer
from hf_distill.pipeline.transfer import TransferSet
from hf_distill.utils.main_process import on_main_process

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Augmentation:
    """Which variants a run makes of its labelled texts.

    Args:
        copies: Number of variants of each text.
        masked_lm: A masked language model that proposes words; None for neighbors in the teacher's embedding table.
    """

    copies: int
    masked_lm: ModelReference | None = None

    def load_proposals(self, max_length: int, device: torch.device) -> WordProposals | None:
        """Load the masked language model, if there is one.

        Args:
            max_length: Number of tokens after which texts are cut.
            device: Where it runs.

        Raises:
            OSError: if the model cannot be loaded.
            ValueError: if it has no weights for a head for masked words, or a tokenizer that cannot mask.
        """
        if self.masked_lm is None:
            return None
        name = self.masked_lm.name_or_path
        remedy = "Name a model that was pretrained on masked words, and saved with its head for them."
        try:
            config = AutoConfig.from_pretrained(name)
            if type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
                raise ValueError(
                    f"{name} has a {type(config).__name__}, and such models do not know masked words. {remedy}"
                )
            model, missing = load_pretrained(AutoModelForMaskedLM, name, {"dtype": "float32"})
        except OSError as error:
            reason = describe_load_error(name, error)
            raise OSError(f"The masked language model {name!r} cannot be loaded: {reason}") from error
        if missing:
            raise ValueError(
                f"{name} has no weights for {', '.join(missing)}, so the words that it proposes would be random. "
                f"{remedy}"
            )
        torch.nn.Module.to(model, device)
        return WordProposals(model, load_tokenizer(self.masked_lm, for_words=True), max_length)


def add_variants(
    transfer: TransferSet | None,
    task: Task,
    teacher: PreTrainedModel,
    teacher_tokenizer: PreTrainedTokenizerBase,
    student_tokenizer: PreTrainedTokenizerBase,
    copies: int,
    proposals: WordProposals | None = None,
) -> TransferSet:
    """Add variants of the training texts to the transfer set of a run.

    Variants that are near-duplicates of an evaluation text are dropped. Words are masked only if teacher and student
    have the same mask token. The main process makes the variants for all.

    Args:
        transfer: The unlabelled text of the run; None if there is none.
        task: The task, with labelled rows to train on.
        teacher: The teacher, whose embedding table says which words are similar.
        teacher_tokenizer: The teacher's tokenizer.
        student_tokenizer: The student's tokenizer.
        copies: Number of variants of each row.
        proposals: What proposes words instead of the embedding table.

    Returns:
        The transfer set with the variants after its texts, and an entry `augmentation` in its report.

    Raises:
        ValueError: if there is no labelled row to train on, if no text can be varied, or as
            [`~hf_distill.data.augment_texts`] does.
    """
    if "train" not in task.datasets:
        raise ValueError("--augment varies labelled texts, and there are none. Name labelled rows, or leave it out.")
    methods = dict(DEFAULT_METHODS)
    if proposals is not None:
        methods = {"masked_lm": methods.pop("neighbors"), **methods}
    if teacher_tokenizer.mask_token is None or teacher_tokenizer.mask_token != student_tokenizer.mask_token:
        del methods["mask"]
    columns = list(task.text_columns)

    def make() -> dict[str, list[Any]]:
        return augment_texts(
            task.datasets["train"],
            text_columns=columns,
            tokenizer=teacher_tokenizer,
            embeddings=word_embeddings(teacher).cpu().numpy(),
            methods=methods,
            proposals=proposals,
            copies=copies,
        ).to_dict()

    # What a model proposes can differ between devices, and all processes must train on the same rows.
    variants = Dataset.from_dict(on_main_process(make))
    asked = copies * len(task.datasets["train"])
    report: dict[str, Any] = {"copies": copies, "methods": methods, "asked": asked, "made": len(variants)}
    if proposals is not None:
        report["masked_lm"] = proposals.model.name_or_path
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
