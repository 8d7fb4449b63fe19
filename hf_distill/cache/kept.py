"""What is kept of a teacher's forward pass: flat rows of numbers in the store, their shape in the data set."""

import math
from typing import Any, cast

import datasets
import numpy as np
import pyarrow as pa
from torch import Tensor
from transformers import PreTrainedConfig

from hf_distill.classifiers.outputs import STORABLE_OUTPUTS, ClassifierOutputs
from hf_distill.classifiers.problem_types import ProblemType


class Kept:
    """One kind of output of one teacher.

    Args:
        name: "logits", or "cls_states": the hidden states of the first token after every layer, the embeddings first.
        config: The teacher's.
        problem_type: The teacher's.
        dtype: "float32" or "float16", of the numbers.

    Raises:
        ValueError: for an unknown name or dtype.

    Attributes:
        column: Its column in a data set.
        reads: What the teacher must return beside its logits.
        row_shape: Shape of a row's numbers, -1 for a length that differs from row to row.
    """

    def __init__(self, name: str, config: PreTrainedConfig, problem_type: ProblemType, dtype: str) -> None:
        if name not in STORABLE_OUTPUTS or dtype not in ("float32", "float16"):
            raise ValueError(
                f"`outputs` must be one of {', '.join(STORABLE_OUTPUTS)} and `stored_dtype` float32 or float16; got "
                f"{name!r} and {dtype!r}."
            )
        self.name, self.dtype, self.column = name, dtype, STORABLE_OUTPUTS[name]
        self.reads = ["cls_states"] if name == "cls_states" else []
        self.row_shape: tuple[int, ...] = (cast(int, config.num_labels),)
        if name == "cls_states":
            self.row_shape = (config.num_hidden_layers + 1, config.hidden_size)
        elif problem_type.is_token_level:
            self.row_shape = (-1, *self.row_shape)

    @property
    def bytes_per_row(self) -> int:
        """About how much memory a row takes; sentences are taken to have 128 tokens."""
        return 4 * math.prod(128 if length < 0 else length for length in self.row_shape)

    def flat_rows(self, outputs: ClassifierOutputs, is_token: Tensor) -> list[np.ndarray]:
        """Return the numbers of each row of a batch, without its padding; `is_token` is `(batch, length)`, bool."""
        if self.name == "cls_states":
            values = list(cast(Tensor, outputs.cls_states).float())
        elif len(self.row_shape) == 2:
            values = [row[mask] for row, mask in zip(outputs.logits, is_token, strict=True)]
        else:
            values = list(outputs.logits)
        return [row.flatten().cpu().numpy() for row in values]

    def features(self) -> datasets.Features:
        """Return the column's type."""
        feature: Any = datasets.Value(self.dtype)
        for length in reversed(self.row_shape):
            feature = datasets.List(feature, length=length)
        return datasets.Features({self.column: feature})

    def shaped(self, rows: pa.Array) -> pa.Array:
        """Give flat rows of numbers the shape of the column."""
        values = pa.FixedSizeListArray.from_arrays(rows.flatten(), self.row_shape[-1])
        if len(self.row_shape) == 2 and self.row_shape[0] >= 0:
            values = pa.FixedSizeListArray.from_arrays(values, self.row_shape[0])
        elif len(self.row_shape) == 2:
            ends = np.cumsum(rows.value_lengths().to_numpy() // self.row_shape[-1])
            values = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], ends]), pa.int32()), values)
        return values.cast(self.features().arrow_schema.types[0])
