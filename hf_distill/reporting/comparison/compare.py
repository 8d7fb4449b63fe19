"""`compare_models` measures whether the student can replace the teacher."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from hf_distill.classifiers.label_maps import check_class_names
from hf_distill.record import describe_machine, describe_versions
from hf_distill.reporting.comparison.candidates import correct_for_candidates
from hf_distill.reporting.comparison.changes import describe_changes
from hf_distill.reporting.comparison.contenders import Contender, make_contenders
from hf_distill.reporting.comparison.cost import describe_costs
from hf_distill.reporting.comparison.describe import Comparison, describe_shifted
from hf_distill.reporting.comparison.evaluation_set import EvaluationSet, find_label_column, read_evaluation_set
from hf_distill.reporting.comparison.fidelity import list_disagreements
from hf_distill.reporting.comparison.groups import read_groups, with_groups
from hf_distill.reporting.comparison.leaderboard import make_leaderboard
from hf_distill.reporting.comparison.notes import make_notes, make_warnings
from hf_distill.reporting.comparison.own_metrics import MetricFunction, read_metric_functions
from hf_distill.reporting.comparison.pairing import describe_pairing, find_pairings, name_outputs
from hf_distill.reporting.comparison.predict import Predicts
from hf_distill.reporting.comparison.quality import TEACHER, Resampling
from hf_distill.reporting.comparison.running import run_models
from hf_distill.reporting.comparison.same_model import check_distinct
from hf_distill.reporting.comparison.scores import check_metrics
from hf_distill.reporting.comparison.seen_rows import (
    about_seen_rows,
    about_unknown_rows,
    check_not_trained,
    describe_seen_rows,
    find_seen_rows,
    warn_of_seen_rows,
)
from hf_distill.reporting.comparison.settings import check_numbers, choose_metrics, problem_type_of
from hf_distill.reporting.comparison.slices import about_slices, describe_slices, read_slice_columns
from hf_distill.reporting.comparison.thresholds import (
    about_thresholds,
    check_threshold_rows,
    choose_thresholds,
    describe_thresholds,
    subtract,
)
from hf_distill.reporting.comparison.verdict import make_verdict
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
    class_names: Sequence[str] | None = None,
    metric_name: str | None = None,
    metric_functions: Mapping[str, MetricFunction] | None = None,
    margin: float = 0.01,
    shifted_dataset: Dataset | None = None,
    threshold_dataset: Dataset | None = None,
    name: str = "data",
    slice_columns: Sequence[str] = (),
    group_column: str | None = None,
    allow_training_rows: bool = False,
    max_length: int = 128,
    batch_size: int = 32,
    latency_rounds: int = 30,
    confidence_level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
    trust_remote_code: bool = False,
) -> Report:
    """Compare a teacher, students, their exports and a baseline on one dataset.

    Every model runs once over the rows, in float32. Models are copied and not changed. The first run of each model
    stays in memory until all models have been timed; further runs are loaded one at a time.

    Args:
        models: Name -> model. "teacher" is required. "baseline", the same student trained without the teacher, shows
            whether distillation paid off. All others are candidates: the verdict names the cheapest one that can
            replace the teacher, and the tests are corrected for their number. A model is a
            transformers model, a path or Hub id, the folder of an export, an object with `logits(texts, batch_size)`
            and `id2label`; or a list of runs with different seeds, whose means are reported. The verdict is about one
            of them: the run with the best validation score in its record, else the first.
        dataset: Rows of text, or tokenized rows (`input_ids`), which all models must be able to read.
        processing_class: The tokenizer, or name -> tokenizer. By default the tokenizer in the model's folder.
        text_columns: One text column, or the two columns of a pair; for token classification the column of words. By
            default the string columns, if there are one or two.
        label_column: By default `label`, else `labels`, if the dataset has such a column. Rows without a label (null,
            -1, -100, NaN) count only for fidelity.
        label_names: The classes in the order of the ids, if the dataset does not name them; the report lists them in
            this order. By default the dataset's order, else the teacher's. The classes of all models are aligned by
            name.
        class_names: Names of the teacher's outputs in its order, if its config does not name them. By default they
            are paired with the dataset's classes in order, which labelled rows must not contradict.
        metric_name: The metric that decides. By default the first one of the problem type, e.g. accuracy; for a
            regression the mean absolute error, because a correlation does not see a wrong scale.
        metric_functions: Name -> function of predictions and references (in this order) that returns a number; higher
            is better. The report has these metrics too, and `metric_name` can be one of them. For the form of
            predictions and references see [`~hf_distill.data.metrics.Metric`].
        margin: How much worse a student can be and still count as non-inferior; 0.01 is one point. For an error it is
            a share of the error of the best constant answer, see
            [`~hf_distill.reporting.comparison.trivial.absolute_margin`].
        shifted_dataset: Labelled rows of another kind with the same columns, to measure how the scores hold up there.
        threshold_dataset: Labelled validation rows of the same form, for multi-label classification: for each class of
            each model the threshold with the best F1 on these rows is used, instead of a probability of 0.5.
        name: Name of the dataset.
        slice_columns: Other columns of the dataset, such as a language. The models are also compared on the rows with
            each value; values with fewer than 20 rows are merged.
        group_column: Column of texts or numbers that says which rows belong together, such as the document of a
            sentence. Intervals and tests then count whole groups. By default all rows are independent.
        allow_training_rows: Compare even if more than half of the rows trained a model.
        max_length: Texts are cut to this number of tokens.
        batch_size: Rows of a forward pass. It does not change the results.
        latency_rounds: Timed calls of each model with one made-up text; calls with single texts of the dataset are
            five times that. 0 to measure neither time nor memory.
        confidence_level: Level of the intervals.
        num_resamples: Number of bootstrap resamples. A metric without `from_counts` gets at most 200, and the notes
            say so.
        seed: Seed of the resamples.
        trust_remote_code: Whether to run Python files that come with a model. Set it only if you trust all of them.

    Raises:
        TypeError: if a model is of a type that cannot be compared.
        ValueError: if models, rows or labels do not fit together. No model has run by then.
    """
    check_numbers(margin, confidence_level, latency_rounds, num_resamples)
    contenders = make_contenders(models, processing_class, max_length, trust_remote_code)
    problem_type = problem_type_of(contenders)
    check_distinct(contenders)
    teacher = contenders[0].first
    teacher_names = [teacher.id2label[i] for i in range(len(teacher.id2label))]
    if class_names is not None:
        name_outputs(teacher, check_class_names(class_names, teacher_names))
    slices = read_slice_columns(dataset, slice_columns)
    read = functools.partial(
        _read_set, problem_type, teacher, text_columns, label_column, group_column, sorted(slices)
    )
    sets = [read(dataset, label_names)]
    if shifted_dataset is not None:
        # The same order for both, because binary F1 is the F1 of the second class.
        sets.append(read(shifted_dataset, sets[0].units.names))
        if not sets[1].units.is_labelled.all():
            raise ValueError("`shifted_dataset` has rows without a label, which cannot be scored. Remove these rows.")
    if threshold_dataset is not None:
        sets.append(read(threshold_dataset, sets[0].units.names))
        check_threshold_rows(sets[-1].units, sets[0].units)
    seen = [find_seen_rows(contenders, rows) for rows in sets]
    if not allow_training_rows:
        whats = ["evaluation", *(["shifted"] if shifted_dataset is not None else [])]
        for seen_rows, what in zip(seen, whats, strict=False):  # thresholds can be chosen on any rows
            check_not_trained(seen_rows, what)
    own = read_metric_functions(metric_functions or {}, problem_type)
    metrics = choose_metrics(metric_name, problem_type, sets[0].units.names, own)
    check_metrics(metrics, sets[0].units)
    how = Resampling(num_resamples, confidence_level, seed)
    pairings = find_pairings(contenders, sets[0].units, teacher_names)
    outputs = run_models(contenders, sets, batch_size, pairings)
    raw_logits, thresholds = None, {}
    if threshold_dataset is not None:
        raw_logits, thresholds = outputs[0], choose_thresholds(sets[-1].units, outputs.pop())
        outputs = [subtract(logits, thresholds) for logits in outputs]
    shipped = {contender.name: contender.shipped_run(metrics[0].name) for contender in contenders}
    runs = {name: run for name, (run, _) in shipped.items()}
    comparison = Comparison(sets[0].units, outputs[0], metrics, margin, how, runs, raw_logits)
    shifted = describe_shifted(sets[1].units, outputs[1], metrics, how) if shifted_dataset is not None else {}
    costs = describe_costs(contenders, sets[0].units.texts, latency_rounds)
    columns = {
        c.name: {
            **_describe(c, *shipped[c.name]),
            **comparison.describe(c.name),
            "pairing": describe_pairing(pairings[c.name]) if c.name in pairings else None,
            "seen_rows": describe_seen_rows(c.name, seen[0].get(c.name), comparison),
            "thresholds": (
                describe_thresholds(sets[0].units.names, thresholds[c.name][runs[c.name]]) if thresholds else None
            ),
            "shifted": shifted.get(c.name),
            "cost": costs[c.name],
        }
        for c in contenders
    }
    correct_for_candidates(columns, confidence_level)
    task = {
        "name": name,
        "problem_type": problem_type,
        "metric_name": metrics[0].name,
        "metrics": [metric.name for metric in metrics],
        "rows": comparison.num_rows,
        "unlabelled_rows": comparison.num_unlabelled,
        "repeated_rows": comparison.num_repeated,
        "groups": comparison.describe_groups(group_column),
        "trivial": comparison.describe_trivial(),
        "text_columns": sets[0].text_columns,
        "labels": None if problem_type == "regression" else sets[0].units.names,
        **({"pairing": describe_pairing(pairings[TEACHER])} if TEACHER in pairings else {}),
        "confidence_level": confidence_level,
        "num_resamples": num_resamples,
        "num_resamples_by_metric": {metric.name: how.num_for(metric) for metric in metrics},
    }
    return _report(columns, task, comparison, slices)


def _read_set(
    problem_type: str,
    teacher: Predicts,
    text_columns: Sequence[str] | None,
    label_column: str | None,
    group_column: str | None,
    slice_columns: Sequence[str],
    dataset: Dataset,
    label_names: Sequence[str] | None,
) -> EvaluationSet:
    """Read rows without the columns that are neither text nor labels."""
    groups = read_groups(dataset, group_column)
    label_column = find_label_column(dataset, label_column)
    others = {*slice_columns, group_column} - {*(text_columns or ()), label_column}
    dataset = dataset.select_columns([column for column in dataset.column_names if column not in others])
    rows = read_evaluation_set(dataset, problem_type, teacher, text_columns, label_column, label_names)
    return with_groups(rows, groups, group_column)


def _describe(contender: Contender, shipped_run: int, shipped_reason: str) -> dict[str, Any]:
    return {
        "role": contender.role,
        "num_runs": len(contender.values),
        "shipped_run": shipped_run,
        "shipped_reason": shipped_reason,
        "origin": contender.origin,
        "format": contender.format,
    }


def _report(
    columns: dict[str, Any],
    task: dict[str, Any],
    comparison: Comparison,
    slice_columns: Mapping[str, Sequence[str | None]],
) -> Report:
    machine = describe_machine()
    is_busy = machine["is_busy"]
    verdict = make_verdict(columns, task, is_busy)
    subject, num_rows = verdict["model"], comparison.units.num_rows
    for name in verdict["by_model"]:
        verdict["by_model"][name] += warn_of_seen_rows(columns[name], num_rows)
    verdict["sentence"] += warn_of_seen_rows(columns[subject], num_rows)
    slices = describe_slices(comparison, slice_columns, [name for name in columns if name != TEACHER])
    warnings = [
        *make_warnings(columns, subject, task, is_busy),
        *about_slices(slices, subject, task),
        *about_seen_rows(columns, task, num_rows),
    ]
    teacher, student = comparison.logits[TEACHER][0], comparison.logits[subject][columns[subject]["shipped_run"]]
    return Report(
        {
            "format": 1,
            "created": date.today().isoformat(),
            "versions": describe_versions(),
            "machine": machine,
            "task": task,
            "verdict": verdict,
            "leaderboard": make_leaderboard(columns, task),
            "models": columns,
            "slices": slices,
            "changes": describe_changes(comparison, subject),
            "disagreements": list_disagreements(comparison.units, teacher, subject, student),
            "warnings": warnings,
            "notes": [
                *warnings,
                *make_notes(columns, subject, task, comparison.num_unlabelled),
                *about_thresholds(columns[subject]),
                *about_unknown_rows(columns),
            ],
        }
    )
