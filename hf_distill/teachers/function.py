"""A function of texts as a teacher."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# ---- What a user may pass as `teacher_model` beside a model ----


@dataclass(frozen=True)
class FunctionTeacher:
    """A teacher that is a function of texts: an API, a pipeline, rules. It is called once per distinct text.

    A function that is passed as it is, without this class, has the student's classes and no name.

    Args:
        function: From a list of texts (of pairs of texts, if the data set has two text columns) to their logits,
            `(len(texts), num_labels)`, as an array, a tensor or lists; for probabilities return their logarithms.
        labels: Names of the classes in its order; None for the student's.
        name: What its outputs are stored under in `teacher_cache_dir`, to be found by later runs. Choose another name
            when anything about the function changes. None to keep them for this Trainer only.
        batch_size: Texts of a call.
    """

    function: Callable[[list[Any]], Any]
    labels: Sequence[str] | None = None
    name: str | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.name is not None and not self.name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ValueError(f"`name` must be letters, digits, '-', '_' and '.'; got {self.name!r}.")
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {self.batch_size}.")
