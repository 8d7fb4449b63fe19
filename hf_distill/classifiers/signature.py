"""The inputs of a model: what its `forward` reads, also if a wrapper or a subclass hides its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from hf_distill.classifiers.problem_types import without_adapter

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase

# What a model is assumed to read if neither its code nor a tokenizer says it.
USUAL_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


def tokenizer_names(tokenizer: PreTrainedTokenizerBase | None) -> frozenset[str]:
    """Return the columns that a tokenizer returns; the usual ones without a tokenizer."""
    return USUAL_INPUTS if tokenizer is None else frozenset(tokenizer.model_input_names)


def return_token_type_ids(tokenizer: PreTrainedTokenizerBase) -> bool | None:
    """Return the argument of a tokenizer of this name; None if the tokenizer decides.

    The tokenizers of some encoders that read segment ids, ALBERT's for instance, only return them if they are asked.
    The tokenizers of decoders are not asked: GPT-2 would take segment ids for words. They have no [CLS] token.
    """
    return None if tokenizer.cls_token_id is None else True


def input_names(model: nn.Module, columns: frozenset[str] = USUAL_INPUTS) -> frozenset[str]:
    """Return the names of the inputs of a model, without labels.

    A `forward(**kwargs)` says nothing. Then the classes that it inherits from are asked, as far as they pass their
    arguments on, and if these do not name `input_ids` either, the tokenizer.

    Args:
        model: A model, with or without a PEFT adapter.
        columns: The columns that the model's tokenizer returns; see [`tokenizer_names`].
    """
    model = without_adapter(model)
    names, passes_on = _parameters(model.forward)
    for parent in type(model).__mro__:
        if not passes_on or "input_ids" in names or parent is nn.Module:
            break
        if "forward" in vars(parent):
            more_names, passes_on = _parameters(vars(parent)["forward"])
            names |= more_names
    if "input_ids" not in names:
        names |= columns
    return names - {"self", "labels"}


def _parameters(forward: Callable) -> tuple[frozenset[str], bool]:
    """Return the names of the parameters of a function, and whether it accepts others."""
    parameters = inspect.signature(forward).parameters.values()
    names = frozenset(p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
    return names, any(p.kind is p.VAR_KEYWORD for p in parameters)
