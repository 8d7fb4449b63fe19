"""`compare_models`: whether the student may replace the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from hf_distill.classifiers.problem_types import resolve_problem_type
from hf_distill.data.metrics import METRICS
from hf_distill.record import describe_versions
from hf_distill.reporting.comparison.contenders import Contender, make_contenders
from hf_distill.reporting.comparison.cost import describe_costs, describe_machine
from hf_distill.reporting.comparison.describe import Comparison, RunLogits, describe_shifted
from hf_distill.reporting.comparison.evaluation_set import EvaluationSet, read_evaluation_set
from hf_distill.reporting.comparison.fidelity import list_disagreements
from hf_distill.reporting.comparison.predict import TorchPredictor
from hf_distill.reporting.comparison.quality import TEACHER, Resampling
from hf_distill.reporting.comparison.verdict import make_notes, make_verdict, subject_of
from hf_distill.reporting.report import Report

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase


def compare_models(
    models: Mapping[str, Any],
    dataset: Dataset,
    processing_class: PreTrainedTokenizerBase | Mapping[str, PreTrainedTokenizerBase] | None = None,
    *,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    label_names: Sequence[str] | None = None,
    metric_name: str | None = None,
    margin: float = 0.01,
    shifted_dataset: Dataset | None = None,
    name: str = "data",
    max_length: int = 128,
    batch_size: int = 32,
    latency_rounds: int = 30,
    confidence_level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Report:
    """Compare a teacher, students, exports of them and a baseline on one data set.

    Every model runs once over the rows, in float32; models are copied, and stay as they are. The first run of each
    stays in memory until all have been timed; further runs are loaded one at a time.

    Args:
        models: Name -> model. "teacher" must be there; "baseline", the same student trained without the teacher, says
            whether distilling paid; the first of the others is the one that the verdict is about. A model is one of
            transformers, a path or Hub id, the folder of an export, an object with `logits(texts, batch_size)` and
            `id2label`, or a list of these: runs with different seeds, whose mean is reported.
        dataset: Rows of text, or already tokenised (`input_ids`), which all models must then be able to read.
        processing_class: The tokenizer, or name -> tokenizer. Unset: the one in the model's folder.
        text_columns: A column of texts or the two of a pair; for words the one that holds them. Unset: the string
            columns, if there are one or two.
        label_column: Unset: `label`, else `labels`, if there is one. Rows without a label (null, -1, -100, NaN) count
            for fidelity alone.
        label_names: The classes in the order of ids that the data set does not name, and in which the report has
            them; unset, the data set's order, else the teacher's. Classes of all models are aligned by name.
        metric_name: The score to decide by. Unset: the first that the problem type has, e.g. accuracy.
        margin: How much worse a student may be to be called non-inferior; 0.01 is one point.
        shifted_dataset: Rows of another kind, with the same columns, to see what is left of the scores there.
        name: Of the data set.
        max_length: Tokens to cut a text to.
        batch_size: Rows of a forward pass; of no effect on the results.
        latency_rounds: Timed calls of each model with one text; 0 to measure neither time nor memory.
        confidence_level: Of the intervals.
        num_resamples: Of the bootstrap.
        seed: Of its draws.

    Raises:
        TypeError: for models of another kind.
        ValueError: for models, rows or labels that do not fit together, before anything is measured.
    """
    _check_numbers(margin, confidence_level, latency_rounds, num_resamples)
    contenders = make_contenders(models, processing_class, max_length)
    problem_type = _problem_type(contenders)
    metrics = _metric_names(metric_name, problem_type)
    teacher = contenders[0].first
    sets = [read_evaluation_set(dataset, problem_type, teacher, text_columns, label_column, label_names)]
    if shifted_dataset is not None:
        names = sets[0].units.names  # one order for both: F1 must know which class is the positive one
        sets.append(read_evaluation_set(shifted_dataset, problem_type, teacher, text_columns, label_column, names))
        if not sets[1].units.is_labelled.all():
            raise ValueError("`shifted_dataset` is there for its scores, and has rows without a label. Drop them.")
    outputs = _run(contenders, sets, batch_size)
    comparison = Comparison(
        sets[0].units, outputs[0], metrics, margin, Resampling(num_resamples, confidence_level, seed)
    )
    shifted = describe_shifted(sets[1].units, outputs[1], metrics, comparison.how) if len(sets) > 1 else {}
    costs = describe_costs(contenders, sets[0].units.texts, latency_rounds)
    columns = {
        c.name: {
            **_describe(c), **comparison.describe(c.name), "shifted": shifted.get(c.name), "cost": costs[c.name]
        }
        for c in contenders
    }  # fmt: skip
    task = {
        "name": name,
        "problem_type": problem_type,
        "metric_name": metrics[0],
        "metrics": metrics,
        "rows": comparison.num_rows,
        "text_columns": sets[0].text_columns,
        "labels": None if problem_type == "regression" else sets[0].units.names,
        "confidence_level": confidence_level,
        "num_resamples": num_resamples,
    }
    return _report(columns, task, comparison)


def _check_numbers(margin: float, confidence_level: float, latency_rounds: int, num_resamples: int) -> None:
    if not 0 < margin < 1 or not 0 < confidence_level < 1 or latency_rounds < 0 or num_resamples < 100:
        raise ValueError(
            "`margin` and `confidence_level` must be between 0 and 1, `latency_rounds` at least 0 and `num_resamples` "
            f"at least 100, got {margin}, {confidence_level}, {latency_rounds} and {num_resamples}."
        )


def _problem_type(contenders: Sequence[Contender]) -> str:
    """What all models do; of objects that do not say it, what the number of their outputs suggests."""
    found = {}
    for contender in contenders:
        if isinstance(contender.first, TorchPredictor):
            found[contender.name] = resolve_problem_type(contender.first.model).name
        elif contender.export is not None:
            found[contender.name] = contender.export["problem_type"]
    num_labels = len(contenders[0].first.id2label)
    kinds = set(found.values()) or {"regression" if num_labels == 1 else "single_label_classification"}
    if len(kinds) > 1:
        raise ValueError(f"The models do different things and cannot be compared: {found}.")
    kind = kinds.pop()
    if kind not in METRICS or (kind == "regression" and num_labels > 1):
        raise ValueError(f"{kind} with {num_labels} outputs cannot be compared: no metric of ours scores it.")
    return kind


def _metric_names(chosen: str | None, problem_type: str) -> list[str]:
    known = list(METRICS[problem_type])
    if chosen is not None and chosen not in known:
        raise ValueError(f"`metric_name` must be one of {', '.join(known)} for {problem_type}, got {chosen!r}.")
    return known if chosen is None else [chosen, *(name for name in known if name != chosen)]


def _run(contenders: Sequence[Contender], sets: Sequence[EvaluationSet], batch_size: int) -> list[RunLogits]:
    """Run every model once over every set, a run in memory at a time."""
    outputs: list[RunLogits] = [{contender.name: [] for contender in contenders} for _ in sets]
    for contender in contenders:
        for predictor in contender.runs():
            for found, rows in zip(outputs, sets, strict=True):
                found[contender.name].append(rows.predict(predictor, batch_size))
    return outputs


def _describe(contender: Contender) -> dict[str, Any]:
    return {
        "role": contender.role,
        "num_runs": len(contender.values),
        "origin": contender.origin,
        "format": contender.format,
    }


def _report(columns: dict[str, Any], task: dict[str, Any], comparison: Comparison) -> Report:
    subject = subject_of(columns)
    machine = describe_machine()
    is_busy = machine["is_busy"]
    teacher, student = (comparison.logits[name][0] for name in (TEACHER, subject))
    return Report(
        {
            "format": 1,
            "created": date.today().isoformat(),
            "versions": describe_versions(),
            "machine": machine,
            "task": task,
            "verdict": make_verdict(columns, task, is_busy),
            "models": columns,
            "disagreements": list_disagreements(comparison.units, teacher, subject, student),
            "notes": make_notes(columns, task, is_busy, comparison.num_unlabelled),
        }
    )
