"""Writing a model as an ONNX graph, in float32 or with int8 weights."""

from __future__ import annotations

import inspect
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

OPSET = 20  # the default of torch's exporter; it has Gelu as a single operator
_LARGEST_FILE = 2**31 - 2**20  # a file of protobuf is smaller than 2 GiB; the graph without weights takes some
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class _LogitsModel(nn.Module):
    """A model whose forward takes positional tensors and returns one tensor, like an ONNX graph."""

    def __init__(self, model: PreTrainedModel, input_names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.input_names = input_names

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(**dict(zip(self.input_names, inputs, strict=True))).logits


def graph_input_names(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the inputs of the graph: the outputs of the tokenizer that are arguments of the model's forward."""
    parameters = inspect.signature(model.forward).parameters
    return [name for name in _INPUTS if name in tokenizer.model_input_names and name in parameters]


def write_graph(model: PreTrainedModel, input_names: Sequence[str], variant: str, path: Path) -> None:
    """Write a variant of a model to an ONNX file with dynamic batch size and length. Its output is named `logits`.

    Args:
        model: A model in float32, on the CPU, in evaluation mode.
        input_names: Names of the inputs, see [`graph_input_names`].
        variant: "float32" or "int8", see [`hf_distill.export.int8`].
        path: Path of the file. Weights above 2 GB are written to a second file. Older files are replaced.

    Raises:
        ValueError: if torch cannot export the model.
    """
    import onnx

    from hf_distill.export.int8 import quantize_graph

    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        exported = Path(temporary) / "model.onnx"
        _write_float32(model, input_names, exported)
        graph = onnx.load(exported)
    if variant == "int8":
        quantize_graph(graph)
    weights = path.with_name(f"{path.name}_data")  # the name that Transformers.js and Optimum look for
    path.unlink(missing_ok=True)
    weights.unlink(missing_ok=True)
    num_bytes = sum(len(constant.raw_data) for constant in graph.graph.initializer)
    onnx.save_model(graph, path, save_as_external_data=num_bytes > _LARGEST_FILE, location=weights.name)


def _write_float32(model: PreTrainedModel, input_names: Sequence[str], path: Path) -> None:
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    # The exporter would treat sizes of 1 as constants.
    ids = torch.full((2, 8), _non_padding_id(model))
    examples = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    with _suppressed_logs():
        try:
            program = torch.onnx.export(
                _LogitsModel(model, input_names).eval(),
                tuple(examples[name] for name in input_names),
                dynamo=True,
                dynamic_shapes=((sizes,) * len(input_names),),
                input_names=list(input_names),
                output_names=["logits"],
                opset_version=OPSET,
                verbose=False,
            )
        except Exception as error:  # the type depends on the model code that cannot be traced
            raise ValueError(
                f"torch cannot export this {type(model).__name__} to ONNX ({type(error).__name__}). Its message: "
                f"{str(error).strip()[:500]}"
            ) from error
        assert program is not None  # with `dynamo=True` it never is
        # The metadata of each node contains local paths of source files.
        ClearMetadataAndDocStringPass()(program.model)
        program.save(path)


def _non_padding_id(model: PreTrainedModel) -> int:
    """Return a token id that is not padding. Some models compute positions from padding."""
    return 0 if model.config.pad_token_id else 1


@contextmanager
def _suppressed_logs() -> Iterator[None]:
    """Suppress the warnings and log messages of the exporters."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
