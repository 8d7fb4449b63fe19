"""Requirements on a model, which make `hf-distill compare` fail if they are not met."""

import json
import math

import numpy as np
import pytest
from sample_report import sample_report

from hf_distill.cli import main
from hf_distill.reporting.certainty import Interval
from hf_distill.reporting.report import Report
from hf_distill.reporting.requirements import check_labels, describe_result, parse_requirement
from hf_distill.reporting.statistics import wilson_interval

# The sample: the teacher has an accuracy of 0.912, the student's first run 0.8977; 69.5 MB against 91 MB.


def checked(*lines, is_busy=False, **changes):
    content = sample_report()
    content["machine"]["is_busy"] = is_busy
    content["models"]["student"].update(changes)
    return Report(content).check(lines)


@pytest.mark.parametrize(
    ("line", "is_met"),
    [
        ("accuracy >= 0.89", True),
        ("accuracy>=0.8978", False),
        ("accuracy >= 0.98 * teacher", True),
        ("accuracy >= 0.99*teacher", False),
        ("accuracy >= teacher", False),
        ("accuracy < teacher", True),
        ("size_mb <= 69.5", True),
        ("size_mb < 69.5", False),
        ("size_mb <= .5 * teacher", False),
        ("num_parameters <= 2e7", True),
        ("agreement >= 0.9475", True),
        ("agreement > 0.95", False),
    ],
)
def test_a_requirement_is_met_or_not(line, is_met):
    (result,) = checked(line)
    assert (result["text"], result["is_met"], result["reason"]) == (line, is_met, None)


def test_a_result_has_the_value_and_the_bound():
    (result,) = checked("accuracy >= 0.98 * teacher")
    assert result["value"] == pytest.approx(0.9025 - 1.2 * 0.004)
    assert result["bound"] == pytest.approx(0.98 * 0.912)


def test_the_numbers_of_a_class_are_named_in_brackets():
    classes = [{"label": "a [b] = c", "rows": 9, "precision": 0.5, "recall": 0.75, "f1": 0.6}]
    lines = "recall[a [b] = c] >= 0.75", "recall[a [b] = c] > 0.75", "f1[a [b] = c] >= .6", "precision [a [b] = c] < 1"
    assert [result["is_met"] for result in checked(*lines, by_class=classes)] == [True, False, True, True]
    with pytest.raises(ValueError, match="there is no class 'positiv'. Did you mean 'positive'. The classes are"):
        checked("recall[positiv] >= 0.5")
    with pytest.raises(ValueError, match="there is no class 'x'. The classes are none"):
        check_labels([parse_requirement("recall[x] > 0")], None)
    check_labels([parse_requirement("recall[x] > 0")], ["x"])


def one_run(**changes):
    """Changes to the student of the sample: one run with an accuracy of 0.9 on 872 rows."""
    accuracy = {"value": 0.9, "low": 0.88, "high": 0.92, "runs": [0.9], "std": None}
    return {"num_runs": 1, "metrics": {"accuracy": accuracy}, **changes}


@pytest.mark.parametrize(
    ("line", "certainty", "more_rows"),
    [
        ("accuracy >= 0.85", "certain", None),
        ("accuracy >= 0.93", "certain", None),
        ("accuracy < 0.93", "certain", None),
        # 0.01 are half of the half width: 872 * (2.80158 / (1.95996 / 2))^2 = 7,126.6 rows in all
        ("accuracy >= 0.89", "more rows", 7127 - 872),
        ("accuracy <= 0.91", "more rows", 7127 - 872),
        ("accuracy >= 0.9", "too near", None),
        ("accuracy >= 0.8995", "too near", None),
        ("accuracy >= 0.91", "unlikely to change", None),
        ("accuracy <= 0.89", "unlikely to change", None),
        ("size_mb <= 20", None, None),
    ],
)
def test_a_result_says_whether_more_rows_would_make_it_certain(line, certainty, more_rows):
    (result,) = checked(line, **one_run())
    assert (result["certainty"], result["more_rows"]) == (certainty, more_rows)


def test_relative_to_the_teacher_the_interval_is_that_of_the_paired_difference():
    versus = {"difference": -0.012, "low": -0.02, "high": -0.004}
    lines = "accuracy >= 0.98 * teacher", "accuracy >= teacher", "accuracy >= 0.99 * teacher"
    nearly, lost, missed = checked(*lines, **one_run(versus_teacher=versus))
    interval = {"low": pytest.approx(0.892), "high": pytest.approx(0.908), "level": 0.95}
    assert nearly["interval"] == lost["interval"] == interval
    # 0.98 * 0.912 = 0.89376 is 0.00624 below 0.9, and the half width is 0.008.
    assert nearly["more_rows"] == math.ceil(872 * (2.801585 / (1.959964 * 0.00624 / 0.008)) ** 2) - 872
    assert (lost["certainty"], missed["certainty"]) == ("certain", "unlikely to change")


def test_an_error_relative_to_the_teacher_has_the_interval_the_other_way_round():
    content = sample_report()
    content["task"] |= {"metric_name": "rmse", "metrics": ["rmse"]}
    for name, value in (("teacher", 0.5), ("student", 0.52)):
        estimate = {"value": value, "low": value - 0.1, "high": value + 0.1, "runs": [value]}
        content["models"][name] |= {"metrics": {"rmse": estimate}, "num_runs": 1, "shipped_run": 0}
    # The teacher's error minus the student's is between -0.05 and 0.01.
    content["models"]["student"]["versus_teacher"] = {"difference": -0.02, "low": -0.05, "high": 0.01}
    (result,) = Report(content).check(["rmse <= 1.08 * teacher"])
    assert result["interval"] == {"low": pytest.approx(0.49), "high": pytest.approx(0.55), "level": 0.95}
    assert (result["is_met"], result["certainty"]) == (True, "more rows")


def test_agreement_counts_rows_without_a_label_too():
    content = sample_report()
    content["models"]["student"]["fidelity"]["agreement"] = {"value": 0.9, "low": 0.88, "high": 0.92}
    more_rows = []
    for unlabelled in (0, 872):
        content["task"]["unlabelled_rows"] = unlabelled
        more_rows.append(Report(content).check(["agreement >= 0.89"])[0]["more_rows"])
    assert more_rows == [6255, pytest.approx(2 * 6255, abs=1)]


def test_the_recall_of_a_class_counts_the_rows_of_the_class():
    classes = [{"label": "a", "rows": 40, "precision": 0.9, "recall": 0.9, "f1": 0.9}]
    lines = "recall[a] >= 0.85", "precision[a] >= 0.85", "recall[positive] >= 0.5 * teacher"
    classes.append({**classes[0], "label": "positive"})
    recall, precision, relative = checked(*lines, **one_run(by_class=classes))
    low, high = wilson_interval(0.9, 40)
    assert (recall["interval"]["low"], recall["interval"]["high"]) == (low, high)
    assert recall["more_rows"] == math.ceil(40 * (2.801585 / (1.959964 * 0.05 / (0.9 - low))) ** 2) - 40
    assert (precision["interval"], relative["interval"]) == (None, None)


def test_the_mean_of_several_runs_has_no_interval_of_the_run_that_is_used():
    (result,) = checked("accuracy >= 0.89")
    assert (result["interval"], result["certainty"], result["more_rows"]) == (None, None, None)


def test_a_line_names_the_rows_that_are_missing():
    more, unlikely, near = checked("accuracy >= 0.89", "accuracy >= 0.91", "accuracy >= 0.9", **one_run())
    assert describe_result(more) == (
        "met: accuracy >= 0.89 (measured 0.9, bound 0.89); not certain: the 95 % interval is 0.88 to 0.92, and about "
        "6,300 more rows would show it in 4 of 5 samples"
    )
    assert describe_result(unlikely).endswith(
        "(measured 0.9, bound 0.91); not certain: the 95 % interval is 0.88 to 0.92, but the measured number misses "
        "the bound, so more rows will most likely not change this"
    )
    assert describe_result(near).endswith("and the bound is too near for any practical number of rows")


@pytest.mark.parametrize(("share", "bound", "num_rows"), [(0.9, 0.85, 60), (0.7, 0.6, 30), (0.97, 0.95, 200)])
def test_the_named_number_of_rows_shows_a_met_bound_in_4_of_5_samples(share, bound, num_rows):
    right = round(share * num_rows)
    interval = Interval(*wilson_interval(right / num_rows, num_rows), num_rows, 0.95)
    result = interval.compare(right / num_rows, bound, is_met=True)
    in_all = num_rows + result["more_rows"]
    draws = np.random.default_rng(0).binomial(in_all, right / num_rows, 2000)
    is_shown = [wilson_interval(draw / in_all, in_all)[0] > bound for draw in draws]
    assert 0.75 < np.mean(is_shown) < 0.95


def test_a_requirement_can_bound_a_metric_of_the_user():
    with pytest.raises(ValueError, match="there is no number 'kappa'"):
        parse_requirement("kappa >= 2")
    assert parse_requirement("kappa >= 2", ["kappa"]).factor == 2.0  # not a share
    content = sample_report()
    content["task"]["metrics"].append("kappa")
    for name, score in (("teacher", 0.8), ("student", 0.7)):
        content["models"][name]["metrics"]["kappa"] = {"runs": [score] * 3, "value": score}
    assert [result["is_met"] for result in Report(content).check(["kappa >= 0.7", "kappa >= teacher"])] == [
        True,
        False,
    ]


def test_a_missing_number_and_a_time_on_a_busy_machine_are_not_met():
    (ece, f1) = checked("ece <= 1", "matthews_correlation >= 0", calibration=None)
    assert (ece["is_met"], ece["reason"]) == (False, "the report has no ece for it")
    assert (f1["is_met"], f1["reason"]) == (False, "the report has no matthews_correlation for it")
    (idle,), (busy,) = checked("latency_p95_ms <= 1e6"), checked("latency_p95_ms <= 1e6", is_busy=True)
    assert idle["is_met"]
    assert (busy["is_met"], busy["reason"]) == (False, "the machine was busy, so times are unreliable")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("accuracy = 0.9", "has the form NAME SIGN BOUND"),
        ("accuracy >= 98 %", "has the form NAME SIGN BOUND"),
        ("accuracy >= 0.98 * student", "has the form NAME SIGN BOUND"),
        ("accuracy >= nan", "has the form NAME SIGN BOUND"),
        ("accuracy >=", "has the form NAME SIGN BOUND"),
        ("", "has the form NAME SIGN BOUND"),
        ("acuracy >= 0.9", "there is no number 'acuracy'. Did you mean 'accuracy'. There are accuracy, f1"),
        ("accuracy[a] >= 0.9", "there is no number 'accuracy' of a class. There are recall, precision, f1"),
        ("recall >= 0.9", "there is no number 'recall'"),
        ("accuracy >= 95", "accuracy is a share from 0 to 1, got 95. Write 0.95 for 95 %"),
        ("ece <= 5", "ece is a share from 0 to 1"),
        ("recall[a] >= 90", "recall is a share from 0 to 1"),
    ],
)
def test_a_requirement_that_cannot_be_read_is_an_error(line, message):
    with pytest.raises(ValueError, match=message):
        parse_requirement(line)


@pytest.mark.parametrize(
    ("problem_type", "numbers"),
    [
        ("single_label_classification", "accuracy, f1, matthews_correlation, agreement, ece, latency_p50_ms"),
        ("token_classification", "entity_f1, token_accuracy, agreement, ece, latency_p50_ms"),
        ("regression", "pearson, spearmanr, mae, rmse, r2, latency_p50_ms"),
    ],
)
def test_only_the_numbers_of_the_problem_type_are_offered(problem_type, numbers):
    with pytest.raises(ValueError, match="there is no number 'quality'") as error:
        parse_requirement("quality >= 0.9", problem_type=problem_type)
    assert sorted(numbers.split(", ")) == sorted(
        name for name in str(error.value).partition("There are ")[2].rstrip(".").split(", ")
        if name not in ("latency_p95_ms", "latency_p99_ms", "num_parameters", "size_mb")
    )  # fmt: skip
    assert parse_requirement("pearson >= 0.9").name == "pearson"  # of some problem type
    assert parse_requirement("pearson >= 0.9", problem_type="masked_lm").name == "pearson"  # refused with the teacher


def test_a_metric_of_another_problem_type_is_refused():
    with pytest.raises(ValueError, match="there is no number 'pearson'"):
        Report(sample_report()).check(["pearson >= 0.9"])


def test_the_report_lists_its_requirements():
    report = Report(sample_report())
    report.check(["accuracy >= 0.5", "size_mb <= 20"])
    text = report.to_markdown()
    assert "- met: accuracy >= 0.5 (measured 0.8977, bound 0.5)" in text
    assert "- not met: size_mb <= 20 (measured 69.5, bound 20)" in text
    assert report.to_dict()["requirements"]["model"] == "student"


def test_a_typo_in_a_requirement_ends_the_command_before_anything_is_loaded(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "--teacher_model_name_or_path", "absent", "--student_model_name_or_path", "absent",
              "--require", "accuracy >= 0.5", "--require", "acuracy >= 0.9"])  # fmt: skip
    assert stopped.value.code == 2
    assert "Did you mean 'accuracy'?" in capsys.readouterr().err


@pytest.mark.usefixtures("one_plot")
def test_compare_exits_with_status_3_and_names_what_is_not_met(tmp_path, tokenizer, capsys):
    from command_line import write_folder
    from tiny import tiny_model

    folder = write_folder(tmp_path, tokenizer)
    tiny_model(1, seed=2).save_pretrained(folder / "student")
    tokenizer.save_pretrained(folder / "student")
    (folder / "recipe.yaml").write_text("require: [size_mb <= 1000]\n")
    given = ["compare", "--config", str(folder / "recipe.yaml"), "--latency_rounds", "0"]
    given += ["--teacher_model_name_or_path", str(folder / "teacher")]
    given += ["--student_model_name_or_path", str(folder / "student")]
    given += ["--validation_file", str(folder / "validation.csv"), "--output_dir", str(folder / "report")]
    main([*given, "--require", "accuracy >= 0"])
    assert "not met" not in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main([*given, "--require", "accuracy > 1", "--require", "accuracy >= 0"])
    assert stopped.value.code == 3
    output = capsys.readouterr()
    assert output.err.splitlines()[-1] == "hf-distill compare: requirements not met: accuracy > 1"
    assert "- not met: accuracy > 1 (measured" in output.out
    results = json.loads((folder / "report" / "report.json").read_text())["requirements"]["results"]
    assert [(result["text"], result["is_met"]) for result in results] == [
        ("size_mb <= 1000", True), ("accuracy > 1", False), ("accuracy >= 0", True)
    ]  # fmt: skip
