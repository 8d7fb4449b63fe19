"""A model as an ONNX graph, in float32 or with int8 weights."""

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

OPSET = 20  # that of torch's exporter, which has Gelu as one operator
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class _Logits(nn.Module):
    """A model whose forward takes tensors by position and returns one: what an ONNX graph is."""

    def __init__(self, model: PreTrainedModel, input_names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.input_names = input_names

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(**dict(zip(self.input_names, inputs, strict=True))).logits


def input_names_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return what the graph is to take: what the tokenizer gives and the model's forward names."""
    known = inspect.signature(model.forward).parameters
    return [name for name in _INPUTS if name in tokenizer.model_input_names and name in known]


def write_onnx(model: PreTrainedModel, input_names: Sequence[str], path: Path) -> None:
    """Write a model as ONNX, for any number of texts of any length; the output is named `logits`.

    Args:
        model: In float32, on the CPU, in eval mode.
        input_names: Of its forward; `attention_mask`, if it is there, is for tokens that are none.
        path: Of the file. Weights above 2 GB go to a file beside it.

    Raises:
        ValueError: if torch cannot export the model.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    # Not 1 x 1: the exporter takes such sizes for constants.
    ids = torch.full((2, 8), _ordinary_id(model))
    examples = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    with _quiet():
        try:
            program = torch.onnx.export(
                _Logits(model, input_names).eval(),
                tuple(examples[name] for name in input_names),
                dynamo=True,
                dynamic_shapes=((sizes,) * len(input_names),),
                input_names=list(input_names),
                output_names=["logits"],
                opset_version=OPSET,
                verbose=False,
            )
        except Exception as error:  # of many kinds, by what in the model's code cannot be traced
            raise ValueError(
                f"torch cannot export this {type(model).__name__} to ONNX ({type(error).__name__}). Its message: "
                f"{str(error).strip()[:500]}"
            ) from error
        assert program is not None  # with `dynamo=True` it never is
        # Among the metadata of each node is where on this machine the code that made it lies.
        ClearMetadataAndDocStringPass()(program.model)
        program.save(path)


def quantize_onnx(source: Path, target: Path) -> None:
    """Write an ONNX file again with int8 weights; activations are quantised as they come.

    Matrix products have a scale for each output channel, and are computed in int8. Embeddings have one scale, and are
    stored in int8: in a small model they are most of the file. See
    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
    """
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    is_large = source.with_name(f"{source.name}.data").exists()
    with _quiet(), tempfile.TemporaryDirectory() as temporary:
        prepared = Path(temporary) / "model.onnx"
        quant_pre_process(
            source, prepared, skip_optimization=True, skip_symbolic_shape=True, save_as_external_data=is_large
        )
        quantize_dynamic(
            prepared,
            target,
            op_types_to_quantize=["MatMul", "Gather"],
            per_channel=True,
            use_external_data_format=is_large,
        )


def _ordinary_id(model: PreTrainedModel) -> int:
    """Return a token id that is not padding, from which some models derive positions."""
    return 0 if model.config.pad_token_id else 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' notes about their own insides from the user."""
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
