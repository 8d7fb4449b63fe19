"""The order of the leaderboard."""

import math

import pytest

from hf_distill.reporting.comparison.leaderboard import make_leaderboard


def column(value, metric, size):
    cost = {"latency": [], "bytes_on_disk": size, "num_parameters": None}
    return {
        "role": "student",
        "metrics": {metric: {"value": value, "low": value, "high": value}},
        "cost": cost,
        "versus_teacher": None,
    }


@pytest.mark.parametrize(
    ("metric", "order"), [("accuracy", ["b", "teacher", "a", "c"]), ("mae", ["a", "b", "teacher", "c"])]
)
def test_the_best_score_comes_first_the_smaller_of_equals_and_an_undefined_score_last(metric, order):
    models = {"teacher": (0.9, 20), "a": (0.8, 5), "b": (0.9, 10), "c": (math.nan, 1)}
    columns = {name: column(value, metric, size) for name, (value, size) in models.items()}
    entries = make_leaderboard(columns, {"metric_name": metric, "rows": 100})
    assert [entry["model"] for entry in entries] == order
    assert [entry["answer"] for entry in entries if entry["model"] != "teacher"] == ["not shown"] * 3
