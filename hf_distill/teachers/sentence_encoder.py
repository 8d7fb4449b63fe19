"""A sentence encoder: from texts to vectors of length 1, whose dot product is their similarity."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import cached_file

_POOLING_FILE = "1_Pooling/config.json"  # of sentence-transformers
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


class SentenceEncoder:
    """A model that turns texts into vectors.

    Args:
        model: A model without a head, such as `BertModel`.
        tokenizer: Its tokenizer.
        max_length: Number of tokens after which a text is cut.
        pooling: "mean" of the hidden states of all tokens, or "cls", the hidden state of the first one.

    Raises:
        ValueError: for another pooling.
    """

    kind = "sentence encoder"

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int, pooling: str = "mean"
    ) -> None:
        if pooling not in _POOLINGS.values():
            raise ValueError(f"`pooling` must be one of {', '.join(_POOLINGS.values())}, got {pooling!r}.")
        self.model, self.tokenizer, self.max_length = model.eval().requires_grad_(False), tokenizer, max_length
        self.pooling, self.width = pooling, model.config.hidden_size

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Return a vector of length 1 for each text, `(len(texts), hidden_size)`."""
        batch = self.tokenizer(
            list(texts), truncation=True, max_length=self.max_length, padding=True, return_tensors="pt"
        ).to(self.model.device)
        hidden = self.model(**batch).last_hidden_state.float()
        if self.pooling == "mean":
            mask = batch["attention_mask"][..., None]
            # An empty text has no token if the tokenizer adds none.
            vectors = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        else:
            vectors = hidden[:, 0]
        return torch.nn.functional.normalize(vectors, dim=-1)


def read_pooling(name_or_path: str, revision: str | None = None) -> str:
    """Return the pooling that sentence-transformers uses for a model; "mean" if its files do not say.

    Raises:
        ValueError: for a pooling that is not supported.
    """
    path = cached_file(
        name_or_path, _POOLING_FILE, revision=revision or "main", _raise_exceptions_for_missing_entries=False
    )
    if path is None:
        return "mean"
    modes = json.loads(Path(path).read_text(encoding="utf-8"))
    chosen = [name for name, value in modes.items() if name.startswith("pooling_mode_") and value is True]
    if len(chosen) != 1 or chosen[0] not in _POOLINGS:
        raise ValueError(
            f"{name_or_path} pools by {' and '.join(chosen) or 'nothing'}, and only {' and '.join(_POOLINGS)} are "
            "supported. Name another sentence encoder."
        )
    return _POOLINGS[chosen[0]]
