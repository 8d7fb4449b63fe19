"""The teacher output that a cache stores: its shape as a dataset column and as a flat row of numbers in the store."""

import math
from collections.abc import Sequence
from typing import Any, cast

import datasets
import numpy as np
import pyarrow as pa
from torch import Tensor
from transformers import PreTrainedConfig

from hf_distill.classifiers.outputs import STORABLE_OUTPUTS, ClassifierOutputs
from hf_distill.classifiers.problem_types import ProblemType


class CachedOutput:
    """One kind of output of a teacher.

    Args:
        name: "logits"; or "cls_states", the hidden states of the first token: the embeddings and then every layer.
        config: Config of the teacher.
        problem_type: Problem type of the teacher.
        dtype: Precision of the stored numbers, "float32" or "float16".

    Raises:
        ValueError: for an unknown name or dtype.

    Attributes:
        column: Name of the dataset column.
        requested: Outputs that the teacher must return in addition to the logits.
        row_shape: Shape of one row; -1 is a length that differs between rows.
    """

    def __init__(self, name: str, config: PreTrainedConfig, problem_type: ProblemType, dtype: str) -> None:
        if name not in STORABLE_OUTPUTS or dtype not in ("float32", "float16"):
            raise ValueError(
                f"`outputs` must be one of {', '.join(STORABLE_OUTPUTS)} and `stored_dtype` one of float32, float16; "
                f"got {name!r} and {dtype!r}."
            )
        self.name, self.dtype, self.column = name, dtype, STORABLE_OUTPUTS[name]
        self.requested = ["cls_states"] if name == "cls_states" else []
        self.row_shape: tuple[int, ...] = (cast(int, config.num_labels),)
        if name == "cls_states":
            self.row_shape = (config.num_hidden_layers + 1, config.hidden_size)
        elif problem_type.is_token_level:
            self.row_shape = (-1, *self.row_shape)

    @property
    def bytes_per_row(self) -> int:
        """Approximate memory of one row; a sentence is assumed to have 128 tokens."""
        return 4 * math.prod(128 if length < 0 else length for length in self.row_shape)

    @property
    def width(self) -> int:
        """Number of values of a row, or of a token if rows have different lengths."""
        return math.prod(length for length in self.row_shape if length >= 0)

    @property
    def has_equal_rows(self) -> bool:
        """Whether all rows have the same length."""
        return self.row_shape[0] >= 0

    def flat_rows(self, outputs: ClassifierOutputs, lengths: Sequence[int]) -> list[np.ndarray]:
        """Return the numbers of each row of a batch without padding, flattened.

        Args:
            outputs: Outputs of the teacher.
            lengths: Number of tokens of each row; padding is on the right.
        """
        # One copy of the whole batch: each copy waits for the device.
        if self.name == "cls_states":
            values = cast(Tensor, outputs.cls_states).float().cpu().numpy()
        else:
            values = outputs.logits.cpu().numpy()
        if self.row_shape[0] < 0:
            return [row[:length].ravel() for row, length in zip(values, lengths, strict=True)]
        return list(values.reshape(len(values), -1))

    def features(self) -> datasets.Features:
        """Return the feature type of the dataset column."""
        feature: Any = datasets.Value(self.dtype)
        for length in reversed(self.row_shape):
            feature = datasets.List(feature, length=length)
        return datasets.Features({self.column: feature})

    def to_column(self, flat_rows: pa.Array) -> pa.Array:
        """Convert a list array of flat rows to the type of the dataset column."""
        values = pa.FixedSizeListArray.from_arrays(flat_rows.flatten(), self.row_shape[-1])
        if len(self.row_shape) == 2 and self.row_shape[0] >= 0:
            values = pa.FixedSizeListArray.from_arrays(values, self.row_shape[0])
        elif len(self.row_shape) == 2:
            ends = np.cumsum(flat_rows.value_lengths().to_numpy() // self.row_shape[-1])
            values = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], ends]), pa.int32()), values)
        return values.cast(self.features().arrow_schema.types[0])
