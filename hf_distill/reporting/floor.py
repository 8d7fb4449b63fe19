"""What a report says about the floor: a linear model on TF-IDF, which needs no neural network."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.text import PLAIN, is_better


def about_floor(report: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return a note that compares the floor of a report with the model of its verdict; none without a common score.

    Args:
        report: The content of a report with `floor`.

    Returns:
        The note, and whether the floor is no worse than the model.
    """
    floor, metric, name = report["floor"], report["task"]["metric_name"], report["verdict"]["model"]
    score = floor["metrics"].get(metric)
    model_score = report["models"][name]["metrics"].get(metric, {}).get("value")
    if score is None or model_score is None:
        return [], False
    is_worse = is_better(model_score, score, metric)
    end = f"worse than the {name}" if is_worse else f"no worse than the {name}: for these texts it can be enough"
    note = (
        f"The floor: TF-IDF with a linear model, fitted on {floor['rows']:,} labelled training rows, reaches "
        f"{PLAIN.score(score, metric)} ({metric}) in {floor['p50_ms']:.2f} ms for one text, {end}."
    )
    return [note], not is_worse
