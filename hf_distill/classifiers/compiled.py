"""Models that `torch.compile` has wrapped."""

from typing import Any, TypeVar, cast

from accelerate.utils import is_compiled_module
from torch import nn

Model = TypeVar("Model")


def compiled_in_place(model: Model) -> Model:
    """Return the model inside the wrapper of `torch.compile`, which still runs the compiled code when it is called.

    The wrapper hides class, signature and names of the weights. Anything but such a wrapper is returned unchanged.
    """
    if not (isinstance(model, nn.Module) and is_compiled_module(model)):
        return model
    original: Any = model._orig_mod
    # What `original.compile(...)` does, with the options that the wrapper was made with.
    original._compiled_call_impl = cast(Any, model).dynamo_ctx(original._call_impl)
    return original
