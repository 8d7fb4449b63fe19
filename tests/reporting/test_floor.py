"""What a report says about TF-IDF with a linear model."""

import pytest
from sample_report import sample_report

from hf_distill.reporting.report import Report


def note_of(metric, floor, student):
    """The note on a floor and a student with these scores."""
    content = sample_report()
    content["task"]["metric_name"] = metric
    content["models"]["student"]["metrics"][metric] = {"value": student}
    report = Report(content)
    report.add_floor({"metrics": {metric: floor}, "rows": 1234, "num_parameters": 5, "p50_ms": 0.25})
    return report.to_dict()["notes"][-1]


@pytest.mark.parametrize(
    ("metric", "floor", "student", "is_enough"),
    [
        ("accuracy", 0.79, 0.8, False),
        ("accuracy", 0.8, 0.8, True),
        ("accuracy", 0.81, 0.8, True),
        ("mae", 0.81, 0.8, False),  # an error: lower is better
        ("mae", 0.79, 0.8, True),
    ],
)
def test_a_floor_that_is_as_good_as_the_student_can_be_enough(metric, floor, student, is_enough):
    note = note_of(metric, floor, student)
    assert note.startswith("The floor: TF-IDF with a linear model, fitted on 1,234 labelled training rows, reaches ")
    assert f"({metric}) in 0.25 ms for one text, " in note
    assert note.endswith(
        "no worse than the student: for these texts it can be enough." if is_enough else ", worse than the student."
    )


def test_a_floor_without_the_metric_that_decides_is_only_in_the_numbers():
    report = Report(sample_report())
    notes = report.to_dict()["notes"]
    report.add_floor({"metrics": {"f1": 0.5}, "rows": 10, "num_parameters": 5, "p50_ms": 0.25})
    assert report.to_dict()["floor"]["metrics"] == {"f1": 0.5}
    assert report.to_dict()["notes"] == notes
