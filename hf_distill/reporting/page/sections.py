"""The sections of `report.html`: a question, how to read the answer, and the plots and tables that give it."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hf_distill.reporting.page import class_tables, cost_tables, tables
from hf_distill.reporting.page.tables import Table
from hf_distill.reporting.page.weak_spots import changes_table, confusion_tables, slice_table

Report = Mapping[str, Any]


class Section(NamedTuple):
    """A part of the page, with the names of its plots. `is_beside` puts its first table beside its only plot."""

    id: str
    title: str
    lead: str
    plots: list[str]
    is_beside: bool = False
    tables: Sequence[Table] = ()


def sections(report: Report, plots: Container[str]) -> list[Section]:
    """Return the sections that the report has numbers for.

    Args:
        report: What `Report.to_dict` returns.
        plots: Names of the plots that the report has numbers for.
    """
    parts = (
        part._replace(plots=[name for name in part.plots if name in plots], tables=list(_TABLES[part.id](report)))
        for part in SECTIONS
    )
    return [part for part in parts if part.plots or part.tables]


def _tables(*make: Callable[[Report], Table | None]) -> Callable[[Report], Iterator[Table]]:
    return lambda report: (table for table in (make_one(report) for make_one in make) if table is not None)


def _robustness(report: Report) -> Iterator[Table]:
    lost = class_tables.lost_classes_table
    yield from _tables(lost, slice_table, tables.length_table, tables.shifted_table, changes_table)(report)
    yield from confusion_tables(report)
    yield from _tables(class_tables.f1_table)(report)


_TABLES: dict[str, Callable[[Report], Iterator[Table]]] = {
    "models": _tables(tables.models_table, tables.requirements_table),
    "quality": _tables(tables.tests_table, tables.metrics_table),
    "fidelity": _tables(tables.fidelity_table, class_tables.agreement_table),
    "calibration": _tables(tables.calibration_table),
    "robustness": _robustness,
    "cost": _tables(cost_tables.speed_table, cost_tables.cost_table),
    "deferral": _tables(tables.thresholds_table),
}
SECTIONS = [
    Section(
        "models",
        "Models",
        "The smaller line below a number is its interval. Retention is the model’s score divided by the teacher’s. "
        "Gap closed is (student − baseline) / (teacher − baseline). The baseline is the same student trained without "
        "the teacher. The verdict says whether the model can replace the teacher.",
        ["scores", "score_and_latency"],
    ),
    Section(
        "quality",
        "Is the difference real?",
        "Both models of a pair answered the same rows, so easy and hard rows affect both alike. A small p-value means "
        "that chance alone would rarely produce such a difference.",
        [],
    ),
    Section(
        "fidelity",
        "Does the student answer like the teacher?",
        "Agreement is the share of equal answers, right or wrong. The KL divergence compares the predicted "
        "probabilities. For regression, RMSE and correlation compare the predicted numbers.",
        ["agreement_by_class"],
        is_beside=True,
    ),
    Section(
        "calibration",
        "Does the confidence match the accuracy?",
        "The expected calibration error (ECE) is the mean difference between confidence and accuracy. The Brier score "
        "and the negative log-likelihood (NLL) measure confidence and accuracy together. Lower is better for all. "
        "Temperature scaling divides the logits by one number.",
        ["reliability"],
        is_beside=True,
    ),
    Section(
        "robustness",
        "Where is the student weak?",
        "An average can hide lengths and classes on which a smaller model is worse.",
        ["by_length", "f1_by_class"],
    ),
    Section(
        "cost",
        "What does each model cost?",
        "The models took turns while they were timed, so other work on the machine slowed all of them alike.",
        ["latency", "score_and_size"],
    ),
    Section(
        "deferral",
        "What if the teacher helps?",
        "In a cascade the student answers if its confidence reaches a threshold. The teacher answers the other texts.",
        ["deferral"],
        is_beside=True,
    ),
]
