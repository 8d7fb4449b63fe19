"""Plain text for a masked language model: cut into rows, and masked anew in every batch, or once for all."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset

from hf_distill.data.tokens import TokenCollator

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase

MLM_PROBABILITY = 0.15  # BERT's


def chunk_texts(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, max_length: int = 128) -> Dataset:
    """Join texts, with a separator between them, and cut them into rows of the same length.

    Args:
        texts: In the order in which they are to be read.
        tokenizer: One that begins a row with `cls_token` and ends it with `sep_token`, as those of encoders do.
        max_length: Tokens of a row, these two included.

    Returns:
        Rows of `input_ids`; the last one may be shorter.

    Raises:
        ValueError: for a tokenizer without these tokens, or texts without a word.
    """
    first, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    if first is None or end is None:
        raise ValueError(f"{type(tokenizer).__name__} has no `cls_token` and `sep_token`; take that of an encoder.")
    encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    joined = list(itertools.chain.from_iterable([*ids, end] for ids in encoded if ids))[:-1]
    if not joined:
        raise ValueError("There is no word in the texts.")
    size = min(max_length, tokenizer.model_max_length) - 2
    parts = [joined[start : start + size] for start in range(0, len(joined), size)]
    return Dataset.from_dict({"input_ids": [[first, *part, end] for part in parts]})


class MaskingCollator(TokenCollator):
    """Masks rows anew in every batch; rows that have labels, from [`mask_once`], stay as they are.

    A batch's labels are the tokens to be found where it was masked, -100 elsewhere: the units of a masked language
    model. Which tokens, and what takes their place, is BERT's rule: see `DataCollatorForLanguageModeling`.

    Args:
        tokenizer: One with a `mask_token`.
        mlm_probability: Share of the tokens to find.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, mlm_probability: float = MLM_PROBABILITY) -> None:
        from transformers import DataCollatorForLanguageModeling, DataCollatorWithPadding

        super().__init__(DataCollatorWithPadding(tokenizer), tokenizer.padding_side)
        self.mask = DataCollatorForLanguageModeling(tokenizer, mlm_probability=mlm_probability)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate rows of one dataset."""
        return super().__call__(rows) if "labels" in rows[0] else self.mask([dict(row) for row in rows])


def mask_once(
    dataset: Dataset, tokenizer: PreTrainedTokenizerBase, mlm_probability: float = MLM_PROBABILITY, seed: int = 42
) -> Dataset:
    """Mask rows to evaluate on, so that every evaluation and every model is asked the same.

    Args:
        dataset: Rows of `input_ids`, as [`chunk_texts`] returns them.
        tokenizer: One with a `mask_token`.
        mlm_probability: Share of the tokens to find.
        seed: Of the draw.

    Returns:
        Rows of `input_ids` and `labels`, for [`MaskingCollator`].
    """
    collate = MaskingCollator(tokenizer, mlm_probability)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        batches = [collate([{"input_ids": ids}]) for ids in dataset["input_ids"]]
    return Dataset.from_dict(
        {name: [batch[name][0].tolist() for batch in batches] for name in ("input_ids", "labels")}
    )
