"""Padding that can change a model's answer: heads that look for the last token, and padding on the left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.utils import logging

from hf_distill.classifiers.problem_types import problem_type_of_head, without_adapter
from hf_distill.utils.columns import select_formatted

if TYPE_CHECKING:  # slow to import
    import datasets

logger = logging.get_logger(__name__)

_REASON = "numbers positions from the first column, or reads its answer there"
_NUM_TOKENS, _NUM_PADDING = 4, 8  # of the text that shows whether padding changes an answer


def reads_last_token(config: PreTrainedConfig) -> bool:
    """Return whether a sequence classifier reads its answer at the last token that is not padding, as GPT-2 does."""
    name = config.model_type
    is_decoder = name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and name not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return is_decoder and not config.is_encoder_decoder


def last_token(input_ids: Tensor, config: PreTrainedConfig) -> Tensor:
    """Return the position that the head of a decoder reads, `(batch,)`: the last token that is not the padding token.

    Args:
        input_ids: `(batch, length)`.
        config: Config of the decoder.
    """
    pad_token_id = config.get_text_config().pad_token_id
    if pad_token_id is None:  # such a model reads batches of one row, without padding
        return input_ids.new_full((len(input_ids),), input_ids.shape[1] - 1)
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    return (positions * (input_ids != pad_token_id)).argmax(dim=-1)


def align_pad_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, role: str) -> None:
    """Let a decoder know the padding token of its tokenizer, or it would read its answer at padding.

    Args:
        model: A classifier. If it is a sequence classifier without `config.pad_token_id` whose head reads the last
            token, it gets the tokenizer's id.
        tokenizer: The tokenizer that pads the model's token ids.
        role: What the model is called in messages, "teacher" for instance.

    Raises:
        ValueError: if the two ids differ, or neither exists.
    """
    config = model.config.get_text_config()
    class_name = type(without_adapter(model)).__name__
    if not reads_last_token(model.config) or problem_type_of_head(class_name) is not None:
        return
    name = f"The {role} {model.config.name_or_path or ''}".rstrip()
    if config.pad_token_id is None and tokenizer.pad_token_id is None:
        raise ValueError(
            f"{name}, a {class_name}, reads its answer at the last token that is not padding, but neither its config "
            "nor the tokenizer has a padding token. Set one, for instance `tokenizer.pad_token = tokenizer.eos_token`."
        )
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
        logger.warning_once(
            f"{name} has no padding token in its config. It gets the tokenizer's: {tokenizer.pad_token!r}, id "
            f"{tokenizer.pad_token_id}."
        )
    elif tokenizer.pad_token_id is not None and config.pad_token_id != tokenizer.pad_token_id:
        raise ValueError(
            f"{name}, a {class_name}, reads its answer at the last token that is not padding. Its config says that "
            f"padding has the id {config.pad_token_id}, but the tokenizer pads with {tokenizer.pad_token!r}, id "
            f"{tokenizer.pad_token_id}, so the answer would be read at padding. Pass the {role}'s own tokenizer, or "
            f"set `config.pad_token_id` of the {role} to {tokenizer.pad_token_id}."
        )


def warn_about_left_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, role: str) -> None:
    """Warn if the tokenizer pads batches on the left, and the model's answers depend on that.

    Args:
        model: The model, not split over processes.
        tokenizer: The tokenizer that pads the model's token ids.
        role: "student" or "teacher".
    """
    if tokenizer.padding_side == "left" and left_padding_changes_answers(model, tokenizer):
        logger.warning_once(
            f"The tokenizer pads on the left, which changes the {role}'s answers: the {role} {_REASON}, so the answer "
            "to a text depends on the longest text of its batch. Set `tokenizer.padding_side = 'right'`."
        )


def check_row_padding(
    dataset: datasets.Dataset, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, role: str
) -> None:
    """Refuse rows that were padded on the left when they were tokenized, if the model's answers depend on that.

    Such a model would answer differently from a store of its outputs, which never depend on padding.

    Args:
        dataset: Tokenized rows.
        model: The model, not split over processes.
        tokenizer: The tokenizer of the rows.
        role: "student" or "teacher".

    Raises:
        ValueError: that names the first such row.
    """
    row = _first_row_with_left_padding(dataset)
    if row is not None and left_padding_changes_answers(model, tokenizer):
        raise ValueError(
            f"Row {row} begins with padding, and padding on the left changes the {role}'s answers: the {role} "
            f"{_REASON}. Tokenize without `padding`, since every batch is padded when it is made, or with "
            "`tokenizer.padding_side = 'right'`."
        )


def _first_row_with_left_padding(dataset: datasets.Dataset) -> int | None:
    """Return the index of the first row whose attention mask begins with 0; None if there is none."""
    if "attention_mask" not in dataset.column_names:
        return None
    start = 0
    for rows in select_formatted(dataset, ["attention_mask"], "arrow").iter(10_000):
        lengths = pc.list_value_length(rows["attention_mask"]).fill_null(0).to_numpy()
        values = pc.list_flatten(rows["attention_mask"]).to_numpy()
        not_empty = np.flatnonzero(lengths)
        is_padding = values[(np.cumsum(lengths) - lengths)[not_empty]] == 0
        if is_padding.any():
            return start + int(not_empty[is_padding.argmax()])
        start += len(lengths)
    return None


@torch.no_grad()
def left_padding_changes_answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Run a model on four tokens with and without padding on the left, and return whether its answers differ.

    They differ if the model numbers the positions of a row from its first column, as BERT and GPT-2 do, or if its head
    reads the first column.
    """
    was_training = model.training
    model.eval()
    pad = 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    tokens = [token for token in range(_NUM_TOKENS + 1) if token != pad][:_NUM_TOKENS]
    ids = torch.tensor([tokens], device=model.device)
    padding = ids.new_full((1, _NUM_PADDING), pad)
    padded = {
        "input_ids": torch.cat([padding, ids], dim=1),
        "attention_mask": torch.cat([torch.zeros_like(padding), torch.ones_like(ids)], dim=1),
    }
    expected = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float()
    logits = model(**padded).logits.float()
    model.train(was_training)
    if logits.ndim == 3:  # one answer for each token
        logits = logits[:, _NUM_PADDING:]
    tolerance = 1e-3 if model.dtype == torch.float32 else 5e-2
    return bool((logits - expected).abs().max() > tolerance * expected.abs().max())
