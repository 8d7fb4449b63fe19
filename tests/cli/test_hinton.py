"""The examples on the claims of Hinton et al. (2015)."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

HINTON = Path(__file__).parents[2] / "examples" / "hinton"


def load(name, monkeypatch):
    monkeypatch.syspath_prepend(str(HINTON))
    return runpy.run_path(str(HINTON / f"{name}.py"))


def test_the_measured_gradient_is_that_of_equation_2_and_of_equation_4_for_a_high_temperature(monkeypatch):
    run = load("gradients", monkeypatch)["run"]
    low, high, higher = (run(temperature, 0) for temperature in (1.0, 16.0, 64.0))
    assert max(row["error_2"] for row in (low, high, higher)) < 1e-5
    assert low["error_4"] > 0.5
    assert high["error_4"] / higher["error_4"] == pytest.approx(4, rel=0.1)  # the error falls like 1 / T
    assert high["size"] / higher["size"] == pytest.approx(16, rel=0.05)
    assert high["size_times_t2"] == pytest.approx(higher["size_times_t2"], rel=0.05)


def test_a_run_that_is_in_the_file_is_not_done_again(tmp_path, monkeypatch):
    results_class = load("common", monkeypatch)["Results"]
    results = results_class(tmp_path / "new" / "runs.csv", ("targets", "seed"))
    assert not results.has("hard", 0)
    results.add({"targets": "hard", "seed": 0, "score": 0.5})
    again = results_class(tmp_path / "new" / "runs.csv", ("targets", "seed"))
    assert again.has("hard", 0)
    assert not again.has("hard", 1)
    assert again.rows == results.rows == [{"targets": "hard", "seed": "0", "score": "0.5"}]


def test_the_bias_is_raised_by_what_the_omitted_class_lacks(monkeypatch):
    module = load("omitted_class", monkeypatch)
    digits = module["Digits"]()
    network = nn.Sequential(nn.Linear(64, 10))
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].bias.zero_()
        network[0].bias[3] = -2.1
    # All other classes are equal: the answer is 0 until the 3 is above them, and there are more 3s than 0s.
    counts = torch.bincount(digits.train_labels)
    expected = 2.25 if counts[3] > counts[0] else 0.0
    assert module["best_bias"](network, digits) == expected


@pytest.mark.parametrize("name", ["gradients", "omitted_class", "regularizer"])
def test_the_table_of_the_readme_is_that_of_the_results(name, tmp_path, monkeypatch, capsys):
    shutil.copy(HINTON / "results" / f"{name}.csv", tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--output_dir", str(tmp_path)])
    main = load(name, monkeypatch)["main"]
    main()
    assert capsys.readouterr().out in (HINTON / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    assert (tmp_path / f"{name}.csv").read_text() == (HINTON / "results" / f"{name}.csv").read_text()
