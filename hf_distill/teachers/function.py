"""A function of texts as a teacher."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FunctionTeacher:
    """A teacher that is a function of texts, for instance an API or a set of rules.

    The function is called once for each distinct text. Pass a plain function as `teacher_model` if it returns logits
    in the student's label order and its outputs need not be stored for later runs.

    Args:
        function: Takes a list of texts (or of pairs of texts, if the dataset has two text columns) and returns their
            logits, `(len(texts), num_labels)`, as an array, a tensor or lists. If you have probabilities, return their
            logarithms; probabilities are refused.
        labels: Names of the classes in the function's order. None for the student's order.
        name: Name under which the outputs are stored in `teacher_cache_dir`, so that later runs can use them. Choose
            another name whenever the function changes. None to keep the outputs only for this Trainer.
        batch_size: Number of texts per call.
        retries: Number of further calls for the same texts after an exception, such as a rate limit. The wait before
            them is 1 second at first, doubles with each, and is at most 60 seconds. A TypeError, NameError,
            AttributeError, ImportError, AssertionError or NotImplementedError before the first answer is a mistake in
            the function and is raised at once.

    Raises:
        ValueError: for a `name` with other characters than letters, digits, '-', '_' and '.', a `batch_size` < 1, or
            `retries` < 0.
        TypeError: for numbers that are no integers.
    """

    function: Callable[[list[Any]], Any]
    labels: Sequence[str] | None = None
    name: str | None = None
    batch_size: int = 64
    retries: int = 0

    def __post_init__(self) -> None:
        if self.name is not None and not self.name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ValueError(f"`name` can only contain letters, digits, '-', '_' and '.'; got {self.name!r}.")
        for name in ("batch_size", "retries"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"`{name}` must be an integer, got {getattr(self, name)!r}.")
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {self.batch_size}.")
        if self.retries < 0:
            raise ValueError(f"`retries` must be at least 0, got {self.retries}.")
