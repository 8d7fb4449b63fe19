"""How well an accuracy on few rows is known, and how many more rows would narrow its interval."""

import math
from collections.abc import Mapping
from typing import Any

from hf_distill.data.metrics import find_metric
from hf_distill.data.table import counted
from hf_distill.reporting.statistics import critical_value, wilson_interval
from hf_distill.reporting.text import PLAIN, finite, rounded_rows

MOST_ROWS = 200
HALF_WIDTH = 0.03  # that the sentence takes as precise enough
_MODELS = ("teacher", "student", "baseline")


def rows_for_half_width(share: float, half_width: float, level: float = 0.95) -> int:
    r"""Return how many rows know a share up to a half width: $z^2 p (1 - p) / h^2$.

    Cochran (1977), Sampling Techniques, section 4.4.

    Args:
        share: The share p.
        half_width: Half of the width of its interval.
        level: Level of the interval.
    """
    return math.ceil(critical_value(level) ** 2 * share * (1 - share) / half_width**2)


def describe_few_rows(record: Mapping[str, Any]) -> str | None:
    """Return a line with the interval of each model's accuracy, and how many more rows would narrow it.

    Args:
        record: What `DistillationTrainer.distillation_record` returns, with `metric_name` and `dataset`.

    Returns:
        None with more than 200 rows, or for a metric that is not the share of right rows.
    """
    name, num_rows = record["metric_name"], record["dataset"]["eval_rows"]
    metric = find_metric(name)
    scores = {model: finite(record["metrics"].get(model, {}).get(name)) for model in _MODELS}
    if metric is None or not metric.is_row_accuracy or not num_rows or num_rows > MOST_ROWS:
        return None
    intervals = {model: wilson_interval(score, num_rows) for model, score in scores.items() if score is not None}
    if "student" not in intervals:
        return None
    texts = [
        f"{PLAIN.interval({'low': low, 'high': high}, PLAIN.share)} ({model})"
        for model, (low, high) in intervals.items()
    ]
    line = (
        f"On {counted(num_rows, 'row')} the {name} is only roughly known, with 95 % intervals of {', '.join(texts)}."
    )
    # The middle of Wilson's interval is not 0 or 1, even if all rows are right.
    more = rows_for_half_width(sum(intervals["student"]) / 2, HALF_WIDTH) - num_rows
    margin = PLAIN.margin(HALF_WIDTH, name)
    return (
        f"{line} About {rounded_rows(more)} would narrow the student's to {margin} on each side." if more > 0 else line
    )
