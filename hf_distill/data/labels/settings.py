"""What a user says about labels that the data do not say themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hf_distill.data.labels.spelling import LabelMap, read_label_map

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
REGRESSION, TOKENS = "regression", "token_classification"


@dataclass(frozen=True)
class LabelSettings:
    """How to read labels.

    Attributes:
        problem_type: What kind of problem they make; None to let the labels say it.
        class_names: Names of the classes in the order of the teacher's outputs.
        label_map: What labels stand for, as JSON or a mapping; null for those of unlabelled rows.
        label_delimiter: What separates the labels of one cell.
        teacher_num_labels: Number of the teacher's outputs, where the teacher has a head for the task.
        teacher_problem_type: The teacher's problem type, where its config says it.
    """

    problem_type: str | None = None
    class_names: Sequence[str] | None = None
    label_map: str | LabelMap | None = None
    label_delimiter: str | None = None
    teacher_num_labels: int | None = None
    teacher_problem_type: str | None = None

    @property
    def names(self) -> list[str] | None:
        """The class names as a list.

        Raises:
            ValueError: for a name that is there twice, or a single one.
        """
        if self.class_names is None:
            return None
        given = self.class_names.split(",") if isinstance(self.class_names, str) else list(self.class_names)
        names = [name.strip() for name in given]
        if len(set(names)) < len(names) or len(names) < 2 or "" in names:
            raise ValueError(f"`class_names` must be the names of two or more classes, each once, got {names}.")
        return names

    @property
    def mapping(self) -> dict[str, str | None]:
        """The label map by spelling."""
        return read_label_map(self.label_map)

    @property
    def agreed(self) -> set[str]:
        """Labels that the user has named as classes, so that nothing about them is asked."""
        return {name for name in (*self.mapping.values(), *(self.names or ())) if name is not None}
