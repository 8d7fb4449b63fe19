"""The sections of `report.html`: a question each, how to read its answer, and the plots and tables that give it."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hf_distill.reporting.page import tables
from hf_distill.reporting.page.tables import Table

Report = Mapping[str, Any]


class Section(NamedTuple):
    """A part of the page, with the names of its plots; its first table may stand beside its only plot."""

    id: str
    title: str
    lead: str
    plots: list[str]
    is_beside: bool = False
    tables: Sequence[Table] = ()


def sections(report: Report, plots: Container[str]) -> list[Section]:
    """The sections that the report has something for.

    Args:
        report: What `Report.to_dict` gives.
        plots: Names of those that it has numbers for.
    """
    parts = (
        part._replace(plots=[name for name in part.plots if name in plots], tables=list(_TABLES[part.id](report)))
        for part in _SECTIONS
    )
    return [part for part in parts if part.plots or part.tables]


def _tables(*make: Callable[[Report], Table | None]) -> Callable[[Report], Iterator[Table]]:
    return lambda report: (table for table in (make_one(report) for make_one in make) if table is not None)


def _fidelity(report: Report) -> Iterator[Table]:
    yield from _tables(tables.fidelity_table)(report)
    yield from tables.agreement_tables(report)


def _robustness(report: Report) -> Iterator[Table]:
    yield from _tables(tables.length_table, tables.shifted_table)(report)
    yield from tables.f1_tables(report)


_TABLES: dict[str, Callable[[Report], Iterator[Table]]] = {
    "models": _tables(tables.models_table),
    "quality": _tables(tables.tests_table, tables.metrics_table),
    "fidelity": _fidelity,
    "calibration": _tables(tables.calibration_table),
    "robustness": _robustness,
    "cost": _tables(tables.speed_table, tables.cost_table),
    "deferral": _tables(tables.thresholds_table),
}
_SECTIONS = [
    Section(
        "models",
        "Models",
        "Below a number stands its interval. Retention is a model's score as a share of the teacher's; the gap closed "
        "is how far it is on the way from the baseline, which was trained without the teacher, up to the teacher.",
        ["scores", "score_and_latency"],
    ),
    Section(
        "quality",
        "Is the difference real?",
        "Both models of a pair answered the same rows, so what is easy or hard about the rows cancels out. A small "
        "p-value says that chance alone would seldom make such a difference.",
        [],
    ),
    Section(
        "fidelity",
        "Does it answer as the teacher does?",
        "Whether right or wrong: agreement is the share of equal answers; the KL divergence, or for numbers error and "
        "correlation, compares the outputs themselves.",
        ["agreement_by_class"],
        is_beside=True,
    ),
    Section(
        "calibration",
        "Does it know how sure to be?",
        "The expected calibration error (ECE) is the mean distance of confidence from accuracy. Brier score and "
        "negative log-likelihood (NLL) count wrong answers too. Lower is better. One number, the temperature, mends "
        "most of it.",
        ["reliability"],
        is_beside=True,
    ),
    Section(
        "robustness",
        "Where is it weak?",
        "An average hides texts and classes on which a smaller model falls behind.",
        ["by_length", "f1_by_class"],
    ),
    Section(
        "cost",
        "What does it cost?",
        "The models took turns while they were timed, so that whatever else the machine did slowed all of them.",
        ["latency", "score_and_size"],
    ),
    Section(
        "deferral",
        "What if the teacher helps out?",
        "A cascade: the small model answers where its confidence reaches a threshold, and hands on the other texts.",
        ["deferral"],
        is_beside=True,
    ),
]
