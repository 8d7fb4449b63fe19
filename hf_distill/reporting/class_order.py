"""Test on labelled rows whether the outputs of a model are in the order of the classes of the data."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_distill.classifiers.label_maps import are_placeholders
from hf_distill.reporting.statistics import mcnemar

P_VALUE = 0.001


@dataclass(frozen=True)
class OrderTest:
    """How often a model agrees with labels, for the assumed order of its outputs and for the best one.

    Attributes:
        num_rows: Number of labelled rows.
        agreement: Share of the units (rows, words, or labels of rows) with which the model agrees in the assumed
            order.
        num_test_rows: Number of rows in the half that the best order was not chosen on.
        test_agreement: `agreement` on that half.
        best_agreement: The same for the best order.
        best_order: The output of each class in the order that agrees best with the other half of the rows.
        p_value: Exact p-value of the hypothesis that both orders are right equally often.
        is_confirmed: Whether the assumed order agrees significantly better than the order in which each class has the
            output of the next class.
    """

    num_rows: int
    agreement: float
    num_test_rows: int
    test_agreement: float
    best_agreement: float
    best_order: list[int]
    p_value: float
    is_confirmed: bool

    @property
    def is_refuted(self) -> bool:
        """Whether the best order is significantly better than the assumed order."""
        return self.best_agreement > self.test_agreement and self.p_value < P_VALUE

    def describe(self, output_names: Sequence[str], names: Sequence[str], model: str) -> str:
        """Return a sentence with the agreement, and a second one if another order agrees better.

        Args:
            output_names: Names of the model's outputs.
            names: Names of the classes in the assumed order of the outputs.
            model: What the model is called.
        """
        rows = f"{self.num_rows:,} labelled row{'s' if self.num_rows != 1 else ''}"
        text = f"The {model} agrees with {self.agreement:.1%} of the labels of {rows}."
        if self.best_agreement <= self.test_agreement:
            return text
        best = pairs_of(output_names, self.best_names(names))
        return (
            f"{text} On {self.num_test_rows:,} of them this order agrees with {self.test_agreement:.1%}, the order "
            f"{best} with {self.best_agreement:.1%} (p = {self.p_value:.2g})."
        )

    def best_names(self, names: Sequence[str]) -> list[str]:
        """Return the names of the classes in the best order of the outputs."""
        class_of = {output: name for name, output in zip(names, self.best_order, strict=True)}
        return [class_of[output] for output in range(len(names))]

    def refusal(self, output_names: Sequence[str], names: Sequence[str], model: str) -> str:
        """Return the message for an order that is refuted; the arguments are those of [`OrderTest.describe`]."""
        best_names = self.best_names(names)
        if are_placeholders(dict(enumerate(names))):
            advice = (
                f"Name the classes in the data as the {model}'s config does, or reorder the numbers of each label."
            )
        elif model != "teacher":
            advice = f"Set `id2label` in the config of the {model} to {dict(enumerate(best_names))}."
        else:
            advice = (
                "Pass the names in the order of the teacher's outputs: --class_names "
                f"{shlex.quote(','.join(best_names))} (`class_names`)."
            )
        return (
            f"The classes were paired with the {model}'s outputs as {pairs_of(output_names, names)}, and labelled "
            f"rows contradict this. {self.describe(output_names, names, model)} {advice}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the agreement for the record."""
        return {"agreement": self.agreement, "rows": self.num_rows}


@dataclass
class Pairing:
    """How the outputs of a model were paired with the classes of a task, if not by name.

    Args:
        output_names: Names of the outputs in the model's config.
        names: Names of the classes in the order of the outputs.
        reason: `by order` or `by --class_names`.
        test: The agreement with labelled rows; None if there are too few.
        model: What the model is called.
    """

    output_names: list[str]
    names: list[str]
    reason: str
    test: OrderTest | None = None
    model: str = "teacher"

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    @property
    def is_guess(self) -> bool:
        """Whether nothing but the order of the class names speaks for the pairing."""
        return self.reason == "by order" and (self.test is None or not self.test.is_confirmed)

    @property
    def sentences(self) -> list[str]:
        """The pairing, its agreement with labelled rows, and what to do if it is a guess, one line each."""
        pairs = pairs_of(self.output_names, self.names)
        lines = [f"The {self.model}'s outputs are the classes ({self.reason}): {pairs}."]
        if self.test is not None:
            lines.append(self.test.describe(self.output_names, self.names, self.model))
        if self.is_guess:
            what = "No labelled rows can test this" if self.test is None else "The labels do not confirm this order"
            way = "with --class_names" if self.model == "teacher" else "in its config"
            lines.append(f"{what}. Check it, or name the outputs {way}.")
        return lines

    def check(self, labels: np.ndarray, logits: np.ndarray, rows: np.ndarray | None = None) -> None:
        """Compare the pairing with labels, and note the result; for the arguments see [`compare_orders`].

        Raises:
            ValueError: if another order agrees significantly better. The message has both agreements and what sets
                the better order.
        """
        self.test = compare_orders(labels, logits, rows)
        if self.test is not None and self.test.is_refuted:
            raise ValueError(self.test.refusal(self.output_names, self.names, self.model))

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of the record."""
        return {
            "classes": dict(zip(self.output_names, self.names, strict=True)),
            "chosen": self.reason,
            "is_guess": self.is_guess,
            **(self.test.to_dict() if self.test is not None else {}),
        }


def pairs_of(output_names: Sequence[str], names: Sequence[str]) -> str:
    """Return "LABEL_0 = negative, LABEL_1 = positive"."""
    return ", ".join(f"{output} = {name}" for output, name in zip(output_names, names, strict=True))


def compare_orders(labels: np.ndarray, logits: np.ndarray, rows: np.ndarray | None = None) -> OrderTest | None:
    """Compare the assumed order of a model's outputs with the best order.

    The best order is the assignment of outputs to classes that agrees with most units of one half of the rows (Kuhn,
    1955, https://doi.org/10.1002/nav.3800020109). On the other half the two orders are compared by McNemar's exact
    test over rows: see [`~hf_distill.reporting.statistics.mcnemar`].

    Args:
        labels: Labelled units: class ids `(num_units,)`, or 0 and 1 for every class `(num_units, num_classes)`.
        logits: `(num_units, num_classes)`; output i belongs to class i in the assumed order.
        rows: `(num_units,)`, the row of each unit, ascending; None if each unit is a row.

    Returns:
        The comparison; None if there are fewer than two units.
    """
    if len(labels) < 2:
        return None
    first_half = _first_half(labels, rows)
    agreements = _Agreements(labels, logits)
    assumed, best = list(range(logits.shape[1])), agreements.best_order(first_half)
    units = agreements.of(assumed), agreements.of(best)
    tested = [values[~first_half] for values in units]
    _, row_of = np.unique(np.arange(len(labels)) if rows is None else rows, return_inverse=True)
    gain = units[0] - agreements.of([*assumed[1:], 0])
    return OrderTest(
        num_rows=int(row_of.max()) + 1,
        agreement=float(units[0].mean()),
        num_test_rows=len(np.unique(row_of[~first_half])),
        test_agreement=float(tested[0].mean()),
        best_agreement=float(tested[1].mean()),
        best_order=best,
        p_value=_p_value(tested[1] - tested[0], row_of[~first_half]),
        is_confirmed=bool(gain.mean() > 0) and _p_value(gain, row_of) < P_VALUE,
    )


def _p_value(gains: np.ndarray, row_of: np.ndarray) -> float:
    """Return the exact p-value of the hypothesis that as many rows gain as lose; `row_of` has the row of each unit."""
    gains = np.bincount(row_of, weights=gains)
    return mcnemar(int((gains < -1e-9).sum()), int((gains > 1e-9).sum()))


def _first_half(labels: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    """Return which units are in the first half: every second row, for rows of one class every second of the class."""
    if rows is not None:
        return rows % 2 == 0
    if labels.ndim == 2:
        return np.arange(len(labels)) % 2 == 0
    is_first = np.zeros(len(labels), dtype=bool)
    for class_id in np.unique(labels):
        is_first[np.flatnonzero(labels == class_id)[::2]] = True
    return is_first


class _Agreements:
    """How units agree with outputs; `logits` are decisions by the largest one, or each by its sign."""

    def __init__(self, labels: np.ndarray, logits: np.ndarray) -> None:
        self.labels, self.num_classes = labels, logits.shape[1]
        self.decisions = logits.argmax(axis=1) if labels.ndim == 1 else (logits > 0).astype(float)

    def of(self, order: Sequence[int]) -> np.ndarray:
        """Return the share of right decisions about each unit, if class c has the output `order[c]`."""
        if self.labels.ndim == 1:
            return (self.decisions == np.array(order)[self.labels]).astype(float)
        return (self.decisions[:, order] == self.labels).mean(axis=1)

    def best_order(self, is_chosen: np.ndarray) -> list[int]:
        """Return the output of each class that agrees with most of the chosen units."""
        from scipy.optimize import linear_sum_assignment  # slow to import

        labels, decisions = self.labels[is_chosen], self.decisions[is_chosen]
        if labels.ndim == 1:
            counts = np.zeros((self.num_classes, self.num_classes))
            np.add.at(counts, (labels, decisions), 1)
        else:
            counts = labels.T @ decisions + (1 - labels).T @ (1 - decisions)
        # Less than one unit for the assumed order, which then wins if orders are equally good.
        counts += np.eye(self.num_classes) * 0.5 / self.num_classes
        return linear_sum_assignment(counts, maximize=True)[1].tolist()
