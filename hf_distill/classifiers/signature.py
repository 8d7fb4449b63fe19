"""The inputs of a model: what its `forward` reads, also if a wrapper or a subclass hides its signature."""

import inspect
from collections.abc import Callable

from torch import nn

from hf_distill.classifiers.problem_types import without_adapter

# What a model is assumed to read if neither its code nor a tokenizer says it.
_USUAL_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


def input_names(model: nn.Module, tokenizer_names: frozenset[str] = _USUAL_INPUTS) -> frozenset[str]:
    """Return the names of the inputs of a model, without labels.

    A `forward(**kwargs)` says nothing. Then the classes that it inherits from are asked, as far as they pass their
    arguments on, and if these do not name `input_ids` either, the tokenizer.

    Args:
        model: A model, with or without a PEFT adapter.
        tokenizer_names: The columns that the model's tokenizer returns, its `model_input_names`.
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
        names |= tokenizer_names
    return names - {"self", "labels"}


def _parameters(forward: Callable) -> tuple[frozenset[str], bool]:
    """Return the names of the parameters of a function, and whether it accepts others."""
    parameters = inspect.signature(forward).parameters.values()
    names = frozenset(p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
    return names, any(p.kind is p.VAR_KEYWORD for p in parameters)
