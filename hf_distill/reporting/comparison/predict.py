"""Models as the comparison runs them: from texts to logits, whatever they are made of."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.label_maps import id2label_of
from hf_distill.classifiers.placement import has_fixed_placement, move_to_device
from hf_distill.classifiers.problem_types import without_adapter
from hf_distill.teachers import load_teacher

# A text, or the two of a pair.
Text: TypeAlias = str | tuple[str, str]


@runtime_checkable
class Predicts(Protocol):
    """What can be compared: `hf_distill.Predictor` is one, and any object of yours with these two members."""

    @property
    def id2label(self) -> Mapping[int, str]:
        """Names of the classes by id."""

    def logits(self, texts: Sequence[Any], batch_size: int = 32) -> np.ndarray:
        """Return `(len(texts), num_labels)` of texts or of pairs of them."""


@runtime_checkable
class TagsWords(Protocol):
    """What can be compared on words: `hf_distill.Predictor` with the export of a tagger."""

    problem_type: str

    def word_logits(self, texts: Sequence[Any], batch_size: int = 32) -> list[np.ndarray]:
        """Return for each text, a list of words or a string, `(words, num_labels)`; NaN for a word not seen."""


class TorchPredictor:
    """A model of transformers with its tokenizer, in evaluation mode.

    Args:
        model: A classifier of sequences or tokens.
        tokenizer: Its own.
        max_length: Tokens to cut a text to, special tokens included; at most what the tokenizer allows.
        device: Where it runs, unless it must stay where it is (quantised, or spread over devices).
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int = 128, device: str = "cpu"
    ) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.max_length = min(max_length, tokenizer.model_max_length)
        self.to(device)
        self._inputs = set(inspect.signature(without_adapter(model).forward).parameters) - {"labels"}

    def to(self, device: str) -> None:
        """Move it, if it may be moved."""
        move_to_device(self.model, torch.device(device))

    @property
    def id2label(self) -> dict[int, str]:
        """Names of the classes by id."""
        return id2label_of(self.model.config)

    def logits(self, texts: Sequence[Text], batch_size: int = 32) -> np.ndarray:
        """Return `(len(texts), num_labels)`."""
        return np.stack(self.logits_of(self.encode(texts), batch_size))

    def encode(self, texts: Sequence[Text]) -> list[dict[str, list[int]]]:
        """Tokenise texts, or pairs of them, without padding."""
        columns = [list(texts)] if isinstance(texts[0], str) else [list(column) for column in zip(*texts, strict=True)]
        encoded = self.tokenizer(*columns, truncation=True, max_length=self.max_length, return_token_type_ids=True)
        return [{name: values[row] for name, values in encoded.items()} for row in range(len(texts))]

    @torch.no_grad()
    def logits_of(self, rows: Sequence[Mapping[str, Any]], batch_size: int = 32) -> list[np.ndarray]:
        """Return the logits of tokenised rows: `(num_labels,)` each, or of tokens `(length, num_labels)`."""
        found: list[Any] = [None] * len(rows)
        # Rows of like length together: little padding.
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]["input_ids"]))
        for start in range(0, len(rows), batch_size):
            chosen = order[start : start + batch_size]
            inputs = [{name: value for name, value in rows[row].items() if name in self._inputs} for row in chosen]
            batch = self.tokenizer.pad(
                {name: [row[name] for row in inputs] for name in inputs[0]}, return_tensors="pt"
            )
            logits = self.model(**batch.to(self.model.device)).logits.float().cpu().numpy()
            for row, of_row, mask in zip(chosen, logits, batch["attention_mask"].cpu().numpy(), strict=True):
                found[row] = of_row[mask == 1] if of_row.ndim == 2 else of_row
        return found


def load_model(name: str) -> PreTrainedModel:
    """Load a classifier of sequences or of tokens in float32, whichever its config names.

    Raises:
        OSError: if there is no such model.
    """
    try:
        return load_teacher(name)
    except OSError as error:
        raise OSError(f"The model {name!r} cannot be loaded: {error}") from error


def count_parameters(model: PreTrainedModel) -> tuple[int, int]:
    """Return the number of parameters, and of those outside of embeddings."""
    embeddings = (module for module in model.modules() if isinstance(module, torch.nn.Embedding))
    of_embeddings = {id(module.weight): module.weight.numel() for module in embeddings}
    total = sum(parameter.numel() for parameter in model.parameters())
    return total, total - sum(of_embeddings.values())


def is_torch(predictor: Any) -> bool:
    """Whether it is one of ours around a model of transformers that can be moved and copied."""
    return isinstance(predictor, TorchPredictor) and not has_fixed_placement(predictor.model)
