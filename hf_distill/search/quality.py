"""How good a student is on labelled rows, from its logits."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import EvalPrediction

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.data import Task
from hf_distill.data.metrics import find_metric
from hf_distill.search.need import OF_CLASS


@dataclass(frozen=True)
class ValidationRows:
    """The rows on which a search compares students.

    Attributes:
        task: The task, with its classes in the teacher's order.
        texts: Texts, or pairs of texts, `(num_rows,)`.
        labels: Class ids, or numbers, `(num_rows,)` or `(num_rows, num_labels)`.
        teacher_logits: Logits of the teacher, `(num_rows, num_labels)`.
    """

    task: Task
    texts: list[str] | list[tuple[str, ...]]
    labels: np.ndarray
    teacher_logits: np.ndarray

    def teacher_values(self) -> dict[str, float]:
        """Return the teacher's numbers by name."""
        return self.values(self.teacher_logits)

    def values(
        self, logits: np.ndarray, rows: np.ndarray | slice = slice(None), with_classes: bool = True
    ) -> dict[str, float]:
        """Return the numbers of a model by name.

        Args:
            logits: Logits of the model on all rows, `(num_rows, num_labels)`.
            rows: Indices of the rows to use, which can repeat.
            with_classes: Whether the numbers of single classes are needed, which takes longest.

        Returns:
            The metrics of the task; `agreement` with the teacher, unless it is a regression; and `recall[CLASS]`,
            `precision[CLASS]` and `f1[CLASS]` of each class.
        """
        logits, labels = logits[rows], self.labels[rows]
        values = dict(self.task.compute_metrics(EvalPrediction(logits, labels)))
        problem = PROBLEM_TYPES[self.task.problem_type]
        if problem.agreement is not None:
            agrees = problem.agreement(torch.from_numpy(logits), torch.from_numpy(self.teacher_logits[rows]))
            values["agreement"] = float(agrees.float().mean())
            values |= _by_class(logits, labels, self.task) if with_classes else {}
        return values

    def row_scores(self, name: str, logits: np.ndarray) -> np.ndarray | None:
        """Return one score for each labelled row, whose mean is the number of a model; None if there are none.

        Args:
            name: A name in [`ValidationRows.values`]. The share of right rows and `agreement` are means over rows.
            logits: Logits of the model on all rows.
        """
        problem, metric = PROBLEM_TYPES[self.task.problem_type], find_metric(name)
        if name == "agreement" and problem.agreement is not None:
            return problem.agreement(torch.from_numpy(logits), torch.from_numpy(self.teacher_logits)).numpy()
        if metric is None or not metric.is_row_accuracy:
            return None
        if self.task.problem_type == "multi_label_classification":
            is_right = ((logits > 0) == self.labels).all(axis=1)
            return is_right[~np.isnan(self.labels).any(axis=1)]
        return (logits.argmax(axis=1) == self.labels)[self.labels >= 0]


def read_texts(task: Task, split: str) -> list[str] | list[tuple[str, ...]]:
    """Return the texts of a split, or its pairs of texts."""
    columns = [[text or "" for text in task.datasets[split][name]] for name in task.text_columns]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _by_class(logits: np.ndarray, labels: np.ndarray, task: Task) -> dict[str, float]:
    from sklearn.metrics import precision_recall_fscore_support  # slow to import

    names = task.label_names or []
    is_multi_label = task.problem_type == "multi_label_classification"
    is_labelled = ~np.isnan(labels).any(axis=1) if is_multi_label else labels >= 0
    decisions = (logits > 0).astype(int) if is_multi_label else logits.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels[is_labelled].astype(int), decisions[is_labelled], labels=range(len(names)), zero_division=0.0
    )
    by_name = {"precision": precision, "recall": recall, "f1": f1}
    return {f"{kind}[{name}]": float(by_name[kind][i]) for kind in OF_CLASS for i, name in enumerate(names)}
