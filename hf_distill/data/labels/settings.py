"""Settings for reading labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hf_distill.data.labels.spelling import LabelMap, read_label_map

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
REGRESSION, TOKENS = "regression", "token_classification"


@dataclass(frozen=True)
class LabelSettings:
    """How to read labels.

    Args:
        problem_type: Problem type; None to derive it from the labels.
        class_names: Names of the classes in the order of the teacher's outputs.
        label_map: Mapping from labels to class names, or the same as JSON; null makes a row unlabelled.
        label_delimiter: The text between two labels of a cell.
        teacher_num_labels: Number of the teacher's outputs; None if the teacher has no head for the task.
        teacher_problem_type: Problem type in the teacher's config, if any.
        teacher_class_names: Names of the teacher's classes; empty if it has none. They are needed only for rows that
            are all of one class.

    Raises:
        ValueError: if the delimiter is empty.
    """

    problem_type: str | None = None
    class_names: Sequence[str] | None = None
    label_map: str | LabelMap | None = None
    label_delimiter: str | None = None
    teacher_num_labels: int | None = None
    teacher_problem_type: str | None = None
    teacher_class_names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.label_delimiter == "":
            raise ValueError("`label_delimiter` is empty. Pass the text between two labels, such as '|'.")

    @property
    def names(self) -> list[str] | None:
        """The class names as a list.

        Raises:
            ValueError: if there are fewer than two names, or two equal ones.
        """
        if self.class_names is None:
            return None
        given = self.class_names.split(",") if isinstance(self.class_names, str) else list(self.class_names)
        names = [name.strip() for name in given]
        if len(set(names)) < len(names) or len(names) < 2 or "" in names:
            raise ValueError(f"`class_names` must be two or more different names, got {names}.")
        return names

    @property
    def mapping(self) -> dict[str, str | None]:
        """The label map, with labels as [`spell`] writes them."""
        return read_label_map(self.label_map)

    @property
    def agreed(self) -> set[str]:
        """Labels that the user names as classes. They are never refused as missing values."""
        return {name for name in (*self.mapping.values(), *(self.names or ())) if name is not None}
