import copy
import math

import pytest
import torch
from tiny import tiny_model

from hf_distill.reporting import gap_closed, measure_latency, results_table, summary
from hf_distill.reporting.markdown import markdown_table
from hf_distill.reporting.statistics import standard_error, wilson_interval


def rows(teacher=0.90, student=0.88, baseline=0.85, metric="accuracy"):
    scores = {"teacher": teacher, "student": student, "baseline": baseline}
    return [{"model": model, metric: score} for model, score in scores.items() if score is not None]


def last_line(*args, **kwargs):
    return results_table(*args, **kwargs).splitlines()[-1]


def test_the_gap_closed_matches_the_value_computed_by_hand():
    assert gap_closed(teacher=0.90, student=0.88, baseline=0.85) == pytest.approx(3 / 5)


def test_a_student_below_the_baseline_closes_a_negative_gap():
    assert gap_closed(teacher=0.90, student=0.80, baseline=0.85) == pytest.approx(-1)


def test_there_is_no_gap_to_close_if_the_teacher_is_not_above_the_baseline():
    assert gap_closed(teacher=0.85, student=0.88, baseline=0.85) is None
    assert gap_closed(teacher=0.80, student=0.88, baseline=0.85) is None


def test_a_gap_counts_only_beyond_two_standard_errors():
    # The larger error is the baseline's: sqrt(0.8 * 0.2 / 100) = 0.04.
    assert standard_error(0.8, 100) == pytest.approx(0.04)
    assert gap_closed(teacher=0.87, student=0.85, baseline=0.8, num_rows=100) is None
    assert gap_closed(teacher=0.89, student=0.845, baseline=0.8, num_rows=100) == pytest.approx(0.5)


def test_a_perfect_score_on_few_rows_is_uncertain():
    assert gap_closed(teacher=1.0, student=0.9, baseline=0.8, num_rows=10) is None  # 2 * sqrt(0.016) = 0.253


def test_the_table_shows_the_numbers_of_each_model():
    lines = [{"num_parameters": 109_500_000, "p50_ms": 31.257}, {"num_parameters": 66_400_000, "p50_ms": 16.0}, {}]
    table = results_table([{**row, **more} for row, more in zip(rows(), lines, strict=True)], "accuracy", 10_000)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[:5]]
    assert cells[0] == ["model", "accuracy", "retention", "parameters (M)", "one text, CPU (ms)"]
    assert cells[2] == ["teacher", "0.9000", "100.0 %", "109.5", "31.26"]
    assert cells[3] == ["student", "0.8800", "97.8 %", "66.4", "16.00"]
    assert cells[4] == ["baseline (no teacher)", "0.8500", "94.4 %", "n/a", "n/a"]
    assert len({len(line) for line in table.splitlines()[:5]}) == 1
    assert table.splitlines()[5:] == ["", "gap closed: 60 %"]


@pytest.mark.parametrize(
    ("scores", "num_rows", "line"),
    [
        ({}, 10_000, "gap closed: 60 %"),
        ({}, 100, "gap closed: n/a (the teacher is not clearly better than the baseline)"),
        ({}, None, "gap closed: 60 % (no standard error was computed)"),
        (
            {"student": 0.80},
            10_000,
            "gap closed: -100 % (the student's accuracy is 5 points below the baseline's; this table does not test "
            "differences, `hf-distill compare` does)",
        ),
        (
            {"baseline": None},
            10_000,
            "gap closed: n/a (no baseline was trained; with labelled training rows, --baseline trains one)",
        ),
        ({"baseline": float("nan")}, 10_000, "gap closed: n/a (the baseline has no score)"),
        ({"student": float("nan")}, 10_000, "gap closed: n/a (the student has no score)"),
    ],
)
def test_the_last_line_gives_the_share_of_the_gap_that_was_closed_or_the_reason_why_there_is_none(
    scores, num_rows, line
):
    assert last_line(rows(**scores), "accuracy", num_rows) == line


def test_a_student_with_a_larger_error_than_the_baseline_is_above_it():
    line = last_line(rows(teacher=0.2, student=0.35, baseline=0.3, metric="rmse"), "rmse")
    assert line == (
        "gap closed: -50 % (no standard error was computed; the student's rmse is 0.050 above the baseline's; this "
        "table does not test differences, `hf-distill compare` does)"
    )


def test_a_metric_that_is_not_a_share_of_rows_gets_no_standard_error():
    line = last_line(rows(metric="matthews_correlation"), "matthews_correlation", num_eval_rows=10)
    assert line == "gap closed: 60 % (no standard error was computed)"


def test_a_teacher_without_a_positive_score_has_no_retention():
    table = results_table(rows(teacher=0.0, metric="pearson"), "pearson")
    assert "%" not in table


def test_no_cell_can_break_out_of_a_markdown_table():
    table = markdown_table(["a|b", "n"], [["x\n| `y` | <b>", "1"], ["_z_ a_b", "[u](http://v)"]])
    assert [line.count("|") for line in table.splitlines()] == [3] * 4
    assert not any(mark in table for mark in ("`", "<", "[", "_z_", "://"))
    assert "a_b" in table


def test_latency_is_measured_on_copies_with_the_inputs_that_a_model_knows():
    student, teacher = tiny_model(1).train(), tiny_model(2).to(torch.bfloat16)
    seen = []
    for model in (student, teacher):
        model.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(
                (set(kwargs), module.config.num_hidden_layers, module.training, module.dtype)
            ),
            with_kwargs=True,
        )
    before = copy.deepcopy(teacher.state_dict())
    inputs = {"input_ids": torch.tensor([[2, 5, 7, 3]]), "unknown": torch.zeros(1)}
    latencies = measure_latency({"student": student, "teacher": teacher}, inputs, rounds=4, warmup=2)

    assert list(latencies) == ["student", "teacher"]
    assert all(0 < times["p50_ms"] <= times["p95_ms"] for times in latencies.values())
    assert seen == [({"input_ids"}, depth, False, torch.float32) for depth in (1, 2)] * 6
    assert student.training
    assert teacher.dtype == torch.bfloat16
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_latency_ignores_the_forward_that_mixed_precision_leaves_on_a_model():
    model = tiny_model(1)

    def forward(*args, **kwargs):
        raise AssertionError("this would run the original model")

    model.forward = forward
    latencies = measure_latency({"student": model}, {"input_ids": torch.tensor([[2, 3]])}, rounds=1, warmup=0)
    assert latencies["student"]["p50_ms"] > 0
    assert model.forward is forward


def test_latency_needs_a_round():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        measure_latency({}, {}, rounds=0)


def record_with_floor(floor, metric="accuracy"):
    scores = {"teacher": {metric: 0.9}, "student": {metric: 0.8}}
    fit = {"metrics": {metric: floor}, "rows": 10, "num_parameters": 5_000_000, "p50_ms": 0.25}
    return {
        "metric_name": metric, "metrics": scores, "dataset": {"eval_rows": 100}, "floor": {"labels": fit},
        "teacher": {"num_parameters": 2_000_000}, "student": {"num_parameters": 1_000_000},
    }  # fmt: skip


def test_the_table_of_a_run_has_a_row_for_the_linear_model():
    cells = [cell.strip() for cell in summary(record_with_floor(0.7)).splitlines()[4].strip("|").split("|")]
    assert cells == ["TF-IDF, labels", "0.7000", "77.8 %", "5.0", "0.25"]


@pytest.mark.parametrize(
    ("metric", "floor", "is_said"),
    [
        ("accuracy", 0.79, False),
        ("accuracy", 0.8, True),
        ("accuracy", 0.85, True),
        ("rmse", 0.81, False),
        ("rmse", 0.79, True),
    ],
)
def test_a_linear_model_that_is_as_good_as_the_student_is_said(metric, floor, is_said):
    text = "no worse than the student: for these texts it can be enough"
    assert (text in summary(record_with_floor(floor, metric))) == is_said


def record_of(num_rows, metric="accuracy", **scores):
    metrics = {model: {metric: score} for model, score in scores.items()}
    return {
        "metric_name": metric, "metrics": metrics, "teacher": {}, "student": {"num_parameters": 10},
        "dataset": {"eval_rows": num_rows},
    }  # fmt: skip


def test_on_few_rows_each_accuracy_has_its_interval_and_the_rows_that_would_narrow_it():
    # Wilson's interval of 48 of 60: (0.8 + z^2 / 120 +- z sqrt(0.16 / 60 + z^2 / 14400)) / (1 + z^2 / 60)
    low, high = 0.682182, 0.881715
    assert wilson_interval(0.8, 60) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))
    middle = (low + high) / 2
    more = math.ceil(1.959964**2 * middle * (1 - middle) / 0.03**2) - 60
    assert 660 < more <= 670
    assert summary(record_of(60, teacher=0.9, student=0.8)).splitlines()[-1] == (
        "On 60 rows the accuracy is only roughly known, with 95 % intervals of 79.9 to 95.3 % (teacher), 68.2 to "
        "88.2 % (student). About 670 more rows would narrow the student's to 3 points on each side."
    )
    assert "more rows" not in summary(record_of(200, student=0.99))  # which is narrower already
    assert "intervals of 94.6 to 100.0 % (student). About 46 more rows" in summary(record_of(67, student=1.0))


@pytest.mark.parametrize(
    "record",
    [
        record_of(201, student=0.8),
        record_of(60, metric="f1", student=0.8),
        record_of(60, metric="agreement", student=0.8),
        record_of(60, student=None),
    ],
)
def test_many_rows_and_other_metrics_have_no_such_line(record):
    assert "roughly known" not in summary(record)
