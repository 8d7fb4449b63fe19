"""What the terminal shows of a report: verdict, one table, requirements, and what changes how to read them."""

from collections.abc import Mapping
from typing import Any

from hf_distill.data.table import counted
from hf_distill.reporting.comparison.notes import about_baseline
from hf_distill.reporting.markdown import filled_table
from hf_distill.reporting.next_step import describe_next_step
from hf_distill.reporting.requirements import describe_result
from hf_distill.reporting.text import NOT_AVAILABLE, PLAIN, bullets, ends, is_share, number, one_line

_NAME_LENGTH = 18  # characters of a name that are shown
_COSTS = ("ms/text", "MB")


def render_text(report: Mapping[str, Any]) -> str:
    """Return the short form of a report, whose table usually has at most 100 characters a line.

    Args:
        report: What `Report.to_dict` returns.
    """
    task, verdict, models = report["task"], report["verdict"], report["models"]
    parts = ["\n".join(map(one_line, verdict["by_model"].values()))]
    if (step := describe_next_step(report)) is not None:
        parts.append(f"Next step: {one_line(step)}")
    has_scores = any(model["metrics"] for model in models.values())
    parts.append(_scores(report) if has_scores else _closeness(models, task["problem_type"]))
    rows = f"{task['name']}: {counted(task['rows'], 'row')}."
    runs = _about_runs(models) if has_scores else ""
    parts.append(one_line(f"{rows} {_about_numbers(task, has_scores)}{runs}"))
    if (distillation := about_baseline(models, verdict["model"], task)) and has_scores:
        parts.append(one_line(distillation))
    if checked := report.get("requirements"):
        lines = bullets(map(describe_result, checked["results"]))
        parts.append(f"Requirements on the {one_line(checked['model'])}:\n{lines}")
    if report["warnings"]:
        parts.append(f"Warnings:\n{bullets(report['warnings'])}")
    return "\n\n".join(parts)


def _about_numbers(task: Mapping[str, Any], has_scores: bool) -> str:
    """Return what the numbers in the table are."""
    if not has_scores and task["problem_type"] == "regression":
        return ""  # the differences have no intervals
    unit = " Differences to the teacher are in points." if has_scores and is_share(task["metric_name"]) else ""
    return f"{100 * task['confidence_level']:g} % intervals are in parentheses.{unit}"


def _about_runs(models: Mapping[str, Any]) -> str:
    """Return what the numbers of models with several runs are; empty if there are none."""
    runs = [
        f"{name} (run {model['shipped_run'] + 1} of {model['num_runs']})"
        for name, model in models.items()
        if model["num_runs"] > 1
    ]
    return f" Scores are means over runs, and differences are those of one run: {', '.join(runs)}." if runs else ""


def _scores(report: Mapping[str, Any]) -> str:
    """Return the table of scores and costs, the best score first."""
    metric, models = report["task"]["metric_name"], report["models"]
    rows = [
        [
            ends(entry["model"], _NAME_LENGTH),
            PLAIN.estimated_score(entry, metric),
            _difference(models[entry["model"]]["versus_teacher"], metric),
            entry["answer"] or NOT_AVAILABLE,
            *_costs(entry),
        ]
        for entry in report["leaderboard"]
    ]
    return filled_table(["model", metric, "difference", "verdict", *_COSTS], rows)


def _closeness(models: Mapping[str, Any], problem_type: str) -> str:
    """Return the table for rows without labels: how close each model is to the teacher."""
    is_regression, rows = problem_type == "regression", []
    for name, model in models.items():
        cost, fidelity = model["cost"], model["fidelity"] or {}
        latency = cost["latency"][0]["p50_ms"] if cost["latency"] else None
        agreement, error = PLAIN.estimate(fidelity.get("agreement"), PLAIN.share), number(fidelity.get("rmse"), ".3f")
        rows.append(
            [
                ends(name, _NAME_LENGTH),
                error if is_regression else agreement,
                *_costs({"p50_ms": latency, "bytes_on_disk": cost["bytes_on_disk"]}),
            ]
        )
    return filled_table(["model", "difference (RMSE)" if is_regression else "agreement", *_COSTS], rows)


def _difference(versus: Mapping[str, Any] | None, metric: str) -> str:
    """Return the difference to the teacher, in points for a share."""
    if versus is None:
        return NOT_AVAILABLE
    return PLAIN.estimated_difference(versus, metric).replace(" points", "")


def _costs(cost: Mapping[str, Any]) -> list[str]:
    return [number(cost["p50_ms"], ".2f"), number(cost["bytes_on_disk"], ",.1f", 1e-6)]
