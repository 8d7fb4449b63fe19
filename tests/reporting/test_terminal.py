"""What `hf-distill compare` shows on the terminal, and the next step that it names."""

import pytest
from sample_report import HOSTILE, MODELS, hostile_report, sample_report
from verdicts import compare, logits_for, make_units

from hf_distill.reporting import Report
from hf_distill.reporting.next_step import describe_next_step


def table_of(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def changed(change, **kwargs):
    report = sample_report(**kwargs)
    change(report)
    return report


def test_the_terminal_shows_one_table_that_fits_and_the_rest_stays_in_the_file():
    report = Report(sample_report())
    text, full = report.to_text(), report.to_markdown()
    assert text.startswith("Yes, the student can replace the teacher: it is less than 1 point worse.\n\n|")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table_of(text)]
    assert cells[0] == ["model", "accuracy", "difference", "verdict", "ms/text", "MB"]
    student = next(row for row in cells if row[0] == "student")
    # The means over three seeds: 0.9025, and 0.9025 - 0.912 = -0.95 points.
    assert student[1].startswith("90.2 % (")
    assert student[2].startswith(("-0.9 (", "-1.0 ("))
    assert student[3:] == ["yes", "10.70", "69.5"]
    assert "differences are those of one run: student (run 1 of 3), student int8 (run 1 of 3), baseline (run" in text
    assert max(map(len, table_of(text))) <= 100
    assert len(text.splitlines()) < 20 < len(full.splitlines())
    assert "## Cost" in full
    assert "##" not in text


def test_long_names_of_models_are_shortened():
    names = {name: f"{name} with a name of many words" if name != "teacher" else name for name in MODELS}
    text = Report(sample_report(models={names[name]: line for name, line in MODELS.items()})).to_text()
    assert max(map(len, table_of(text))) <= 100


def test_each_candidate_has_its_verdict_in_a_line():
    labels = [0, 1] * 500
    worse = [1 - label if place < 100 else label for place, label in enumerate(labels)]
    right, wrong = logits_for(labels, 2), logits_for(worse, 2)
    verdict, _, _ = compare(make_units(labels, ["a", "b"]), teacher=right, good=right, bad=wrong)
    assert verdict["by_model"]["good"].startswith("Yes, the good can replace the teacher: with 95 % confidence")
    assert verdict["by_model"]["bad"].startswith("No, the bad should not replace the teacher: ")
    assert verdict["sentence"].startswith("Yes, the good can replace the teacher: ")


def test_a_column_without_numbers_is_not_shown():
    def without_times(report):
        for entry in report["leaderboard"]:
            entry["p50_ms"] = None
        for model in report["models"].values():
            model["cost"]["latency"] = []
            for estimate in model["metrics"].values():
                estimate["std"] = None

    report = Report(changed(without_times))
    assert "ms/text" not in report.to_text()
    assert "one text (ms)" not in report.to_markdown()
    assert "std of" not in report.to_markdown()
    assert "std of accuracy over runs" in Report(sample_report()).to_markdown()


def test_warnings_and_requirements_are_shown_and_other_notes_are_not():
    report = Report(changed(lambda report: report.update(warnings=["3 rows repeat."], notes=["3 rows repeat.", "b"])))
    report.check(["accuracy >= 0.5", "size_mb <= 20"])
    text = report.to_text()
    assert "Warnings:\n- 3 rows repeat." in text
    assert "\n- b" not in text
    assert "Requirements on the student:\n- met: accuracy >= 0.5" in text
    assert "\n- not met: size_mb <= 20 (measured 69.5, bound 20)" in text


def test_a_linear_model_that_is_enough_is_a_warning():
    for score, is_enough in ((0.95, True), (0.5, False)):
        report = Report(sample_report())
        report.add_floor({"metrics": {"accuracy": score}, "rows": 50, "num_parameters": 9, "p50_ms": 0.3})
        assert ("The floor: TF-IDF" in report.to_text()) == is_enough
        assert "The floor: TF-IDF" in report.to_markdown()


def without_labels(report):
    report["leaderboard"], report["task"]["metrics"] = [], []
    report["verdict"] |= {"replace": None, "reason": "no labels"}
    for model in report["models"].values():
        model["metrics"], model["versus_baseline"] = {}, None


def test_without_labels_the_table_has_the_agreement():
    text = Report(changed(without_labels)).to_text()
    assert table_of(text)[0].split("|")[2].strip() == "agreement"
    assert "95 % intervals are in parentheses." in text
    assert "Next step: label some of these rows" in text


def test_a_regression_without_labels_has_its_distance_from_the_teacher_and_no_interval():
    report = Report(changed(without_labels, problem_type="regression"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table_of(report.to_text())]
    assert rows[0] == ["model", "difference (RMSE)", "ms/text", "MB"]
    assert {row[0]: row[1] for row in rows[2:]}["student"] == "0.310"
    assert "intervals" not in report.to_text()
    fidelity = report.to_markdown().partition("## Fidelity\n\n")[2].splitlines()
    assert fidelity[0].split() == "| model | difference (RMSE) | correlation |".split()
    assert next(line for line in fidelity if line.startswith("| student ")).split()[3:6:2] == ["0.310", "0.970"]


def test_nothing_from_outside_breaks_a_line():
    report = hostile_report()
    report["verdict"]["by_model"], report["warnings"] = {HOSTILE: HOSTILE}, [HOSTILE]
    text = Report(report).to_text()
    assert "\u202e" not in text
    assert "\x00" not in text
    assert len({line.count("|") for line in table_of(text)}) == 1


STUDENT = "student"
LOST = {"label": "fraud", "rows": 30, "teacher": 0.9, "model": 0.1, "p_value": 0.001}


def step(reason="score", replace=None, more_rows=None, lines=(), **changes):
    report = sample_report()
    report["verdict"] |= {"replace": replace, "reason": reason, "more_rows": more_rows}
    report["models"][STUDENT] |= changes
    complete = Report(report)
    if lines:
        complete.check(lines)
    return describe_next_step(complete.to_dict())


def test_a_good_student_needs_no_next_step():
    assert step(replace=True) is None
    assert step(replace=True, lines=["accuracy >= 0.5"]) is None


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({"more_rows": 8452}, "compare on about 8,500 more rows, which would show a yes in 4 of 5 samples"),
        ({}, "more unlabelled text (--transfer_file; for pairs of texts also --augment 4)"),
        ({"replace": False}, "or train a larger one; `hf-distill search` tries several students."),
        ({"replace": False, "versus_baseline": {"high": -0.01}}, "check the teacher (docs/troubleshooting.md)"),
        ({"reason": "no labels"}, "label some of these rows"),
        ({"reason": "undefined score"}, "compare by another metric (--metric_name)"),
        ({"reason": "trivial teacher"}, "a teacher that is better than a constant answer"),
        ({"reason": "few rows"}, "more labelled rows"),
        ({"reason": "few groups"}, "rows of more groups"),
        (
            {"reason": "lost class", "replace": False, "lost_classes": {"lost": [LOST], "vanished": []}},
            "more texts of the class 'fraud'",
        ),
        (
            {"reason": "vanished class", "lost_classes": {"lost": [], "vanished": [LOST]}},
            "compare on more rows of the class 'fraud', and train",
        ),
        (
            {"replace": True, "lines": ["size_mb <= 20"]},
            "train a smaller student (docs/students.md), or export this one",
        ),
        ({"replace": True, "lines": ["accuracy >= 0.99"]}, "train the student on more unlabelled text"),
        ({"replace": True, "lines": ["accuracy >= 0.99", "size_mb <= 20"]}, "let `hf-distill search` look"),
        ({"more_rows": 100, "lines": ["latency_p95_ms <= 0.1"]}, "train a smaller student (docs/students.md)"),
        ({"reason": "no labels", "lines": ["size_mb <= 20"]}, "label some of these rows"),
        ({"replace": True, "lines": ["f1[negative] >= 0.999"]}, "more texts of the class 'negative'"),
    ],
)
def test_a_next_step_follows_what_is_missing(known, text):
    assert text in step(**known)


def test_a_calibration_error_is_lowered_by_the_temperature_of_the_report():
    calibration = sample_report()["models"][STUDENT]["calibration"]
    known = {**calibration, "ece": 0.08, "ece_scaled": 0.0214, "temperature": 1.437}
    text = step(replace=True, lines=["ece <= 0.05"], calibration=known)
    assert text.startswith("divide the logits by 1.44 before the softmax. This lowers the ECE on these rows to 0.021")
    assert "divide" not in step(replace=True, lines=["ece <= 0.05"], calibration={**known, "ece_scaled": 0.09})


def test_times_that_are_missing_are_measured_and_those_of_a_busy_machine_measured_again():
    report = sample_report()
    report["machine"]["is_busy"] = True
    busy = Report(report)
    busy.check(["latency_p50_ms <= 5"])
    assert describe_next_step(busy.to_dict()) == "compare again on an idle machine."
    report = sample_report()
    report["models"][STUDENT]["cost"]["latency"] = []
    untimed = Report(report)
    untimed.check(["latency_p50_ms <= 5"])
    assert describe_next_step(untimed.to_dict()) == "measure times: leave out --latency_rounds 0."


@pytest.mark.parametrize(
    ("problem_type", "lines"),
    [
        ("token_classification", ["token_accuracy >= 0.999", "size_mb <= 20"]),
        ("token_classification", ["size_mb <= 20"]),
        ("single_label_classification", ["ece <= 0.001", "size_mb <= 20"]),  # which a search cannot judge
    ],
)
def test_a_search_is_named_only_if_it_can_judge_by_the_requirements(problem_type, lines):
    report = Report(sample_report(problem_type, labels=("O", "B-x")))
    assert not any(result["is_met"] for result in report.check(lines))
    text = describe_next_step(report.to_dict())
    assert text.startswith("train a smaller student (docs/students.md), or export this one")
    assert ("search" in text) == (problem_type != "token_classification")
    assert "at once" not in text


def test_a_number_that_is_missing_does_not_hide_what_else_to_do():
    no_ece = {"calibration": None}
    assert step(replace=True, lines=["ece <= 0.1"], **no_ece) is None
    assert "more unlabelled text" in step(replace=False, lines=["ece <= 0.1"], **no_ece)
    assert "a smaller student" in step(replace=True, lines=["ece <= 0.1", "size_mb <= 20"], **no_ece)


def test_times_that_a_busy_machine_did_not_measure_need_more_than_an_idle_machine():
    report = sample_report()
    report["machine"]["is_busy"] = True
    report["models"][STUDENT]["cost"]["latency"] = []
    untimed = Report(report)
    untimed.check(["latency_p50_ms <= 5"])
    assert describe_next_step(untimed.to_dict()) == "measure times: leave out --latency_rounds 0."


def test_an_export_is_not_exported_again():
    report = Report(changed(lambda report: report["verdict"].update(model="student int8")))
    report.check(["size_mb <= 0.1"])
    text = describe_next_step(report.to_dict())
    assert text.startswith("train a smaller student (docs/students.md); `hf-distill search` finds")


def test_more_rows_come_in_groups_if_these_rows_do():
    report = sample_report()
    report["verdict"] |= {"replace": None, "more_rows": 210}
    report["task"]["groups"] = {"column": "case", "number": 40, "largest": 30}
    assert describe_next_step(report).startswith("compare on about 210 more rows in groups like these, which would")


def test_an_export_alone_is_compared_with_its_student():
    report = sample_report()
    del report["models"][STUDENT]
    report["verdict"] |= {"replace": False, "model": "student int8"}
    assert describe_next_step(report).startswith("compare the student itself too (--student_model_name_or_path)")


def test_taggers_are_not_sent_to_a_search():
    report = sample_report("token_classification", labels=("O", "B-x"))
    report["verdict"]["replace"] = False
    assert "search" not in describe_next_step(report)


def test_the_page_and_the_file_name_the_next_step():
    from hf_distill.reporting.page.html import render_page

    report = changed(lambda report: report["verdict"].update(replace=None, more_rows=210))
    assert "Next step: compare on about 210 more rows" in Report(report).to_markdown()
    assert "Next step: compare on about 210" in render_page(report, {}).replace("\u00a0", " ")
    assert "Next step" not in render_page(sample_report(), {})
