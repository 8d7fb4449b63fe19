"""How the comparison runs models of any kind: from texts to logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.label_maps import id2label_of
from hf_distill.classifiers.loading import explaining_load_errors
from hf_distill.classifiers.placement import has_fixed_placement, move_to_device
from hf_distill.classifiers.signature import input_names, return_token_type_ids, tokenizer_names
from hf_distill.teachers import load_teacher

# A text, or the two texts of a pair.
Text: TypeAlias = str | tuple[str, str]


@runtime_checkable
class Predicts(Protocol):
    """A model that can be compared: `hf_distill.Predictor`, or any object with these two members."""

    @property
    def id2label(self) -> Mapping[int, str]:
        """Names of the classes by id."""

    def logits(self, texts: Sequence[Any], batch_size: int = 32) -> np.ndarray:
        """Return the logits of texts or pairs of texts, `(len(texts), num_labels)`."""


@runtime_checkable
class TagsWords(Protocol):
    """A model that can be compared on words: `hf_distill.Predictor` with the export of a token classifier."""

    problem_type: str

    def word_logits(self, texts: Sequence[Any], batch_size: int = 32) -> list[np.ndarray]:
        """Return `(words, num_labels)` for each text, a list of words or a string; NaN for a word that was cut off."""


class TorchPredictor:
    """A transformers model with its tokenizer, in evaluation mode.

    Args:
        model: A sequence or token classifier.
        tokenizer: The tokenizer of the model.
        max_length: Texts are cut to this number of tokens, including special tokens, or to the tokenizer's limit.
        device: Device to run on. A model that cannot be moved (quantized, or spread over devices) stays where it is.

    Attributes:
        class_names: Names of the outputs instead of the names in the model's config; None for the config's.
    """

    class_names: list[str] | None = None

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int = 128, device: str = "cpu"
    ) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.max_length = min(max_length, tokenizer.model_max_length)
        self.to(device)
        self._inputs = input_names(model, tokenizer_names(tokenizer))

    def to(self, device: str) -> None:
        """Move the model, if it can be moved."""
        move_to_device(self.model, torch.device(device))

    @property
    def id2label(self) -> dict[int, str]:
        """Names of the classes by id."""
        return id2label_of(self.model.config) if self.class_names is None else dict(enumerate(self.class_names))

    def logits(self, texts: Sequence[Text], batch_size: int = 32) -> np.ndarray:
        """Return the logits of texts or pairs of texts, `(len(texts), num_labels)`."""
        return np.stack(self.logits_of(self.encode(texts), batch_size))

    def encode(self, texts: Sequence[Text]) -> list[dict[str, list[int]]]:
        """Tokenize texts or pairs of texts, without padding."""
        columns = [list(texts)] if isinstance(texts[0], str) else [list(column) for column in zip(*texts, strict=True)]
        encoded = self.tokenizer(
            *columns,
            truncation=True,
            max_length=self.max_length,
            return_token_type_ids=return_token_type_ids(self.tokenizer),
        )
        return [{name: values[row] for name, values in encoded.items()} for row in range(len(texts))]

    @torch.no_grad()
    def logits_of(self, rows: Sequence[Mapping[str, Any]], batch_size: int = 32) -> list[np.ndarray]:
        """Return the logits of each tokenized row: `(num_labels,)`, or for tokens `(length, num_labels)`."""
        row_logits: list[Any] = [None] * len(rows)
        for chosen in self._batches(rows, batch_size):
            inputs = [{name: value for name, value in rows[row].items() if name in self._inputs} for row in chosen]
            batch = self.tokenizer.pad(
                {name: [row[name] for row in inputs] for name in inputs[0]}, return_tensors="pt"
            )
            logits = self.model(**batch.to(self.model.device)).logits.float().cpu().numpy()
            for row, values, mask in zip(chosen, logits, batch["attention_mask"].cpu().numpy(), strict=True):
                row_logits[row] = values[mask == 1] if values.ndim == 2 else values
        return row_logits

    def _batches(self, rows: Sequence[Mapping[str, Any]], batch_size: int) -> Iterator[list[int]]:
        """Yield the indices of rows of similar length; of equal length if padding on the left could change answers."""
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]["input_ids"]))
        is_left = self.tokenizer.padding_side == "left"
        for _, group in groupby(order, key=lambda row: len(rows[row]["input_ids"]) if is_left else 0):
            indices = list(group)
            yield from (indices[start : start + batch_size] for start in range(0, len(indices), batch_size))


def load_model(name: str, trust_remote_code: bool = False) -> PreTrainedModel:
    """Load a sequence or token classifier, as its config says, in float32.

    Raises:
        OSError: if there is no such model.
        ValueError: if it needs its own Python code and `trust_remote_code` is False.
    """
    with explaining_load_errors("The model", name):
        return load_teacher(name, trust_remote_code=trust_remote_code)


def count_parameters(model: PreTrainedModel) -> tuple[int, int]:
    """Return the number of parameters, and the number of parameters outside of embeddings."""
    embeddings = (module for module in model.modules() if isinstance(module, torch.nn.Embedding))
    embedding_sizes = {id(module.weight): module.weight.numel() for module in embeddings}
    total = sum(parameter.numel() for parameter in model.parameters())
    return total, total - sum(embedding_sizes.values())


def is_torch(predictor: Any) -> bool:
    """Return whether this is a transformers model that can be moved and copied."""
    return isinstance(predictor, TorchPredictor) and not has_fixed_placement(predictor.model)
