"""The benchmark of students whose rows all have a label."""

import csv
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from test_examples import run_in_folder
from tiny import WORDS, tiny_model, tiny_rows

from hf_distill.data import load_text_dataset
from hf_distill.data.augment import DEFAULT_METHODS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ARMS = "labels,labels_early,variants2_x2_t4,folds2_variants"


def write_task(folder, tokenizer):
    """Write SST-2 as its original files, and an encoder."""
    (folder / "glue" / "SST-2").mkdir(parents=True)
    for name, num_rows, seed in (("train", 60, 0), ("dev", 30, 1)):
        rows = [f"{row['text']}\t{int(row['label'] > 0)}" for row in tiny_rows(num_rows, seed)]
        (folder / "glue" / "SST-2" / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    tiny_model(num_hidden_layers=3, seed=4).bert.save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")


def run_benchmark(folder, *more, arms=ARMS):
    words = [
        "--data_dir",
        folder,
        "--encoder",
        folder / "encoder",
        "--tasks",
        "sst2",
        "--arms",
        arms,
        "--seeds",
        "0,1",
    ]
    words += ["--num_hidden_layers", 2, "--work_dir", folder / "work", "--output_dir", folder, "--quick", *more]

    def run():
        sys.argv = ["all_labels.py", *map(str, words)]
        sys.path.insert(0, str(BENCHMARKS))
        runpy.run_path(str(BENCHMARKS / "all_labels.py"), run_name="__main__")

    return run_in_folder(folder, run)


def test_the_benchmark_compares_each_arm_with_both_baselines_and_goes_on_where_it_was(tmp_path, tokenizer):
    write_task(tmp_path, tokenizer)
    first = run_benchmark(tmp_path)
    path = tmp_path / "all_labels_quick.csv"
    runs = list(csv.DictReader(path.open()))
    steps = {(run["arm"], run["seed"]): run["steps"] for run in runs}
    assert len(runs) == len(steps) == 1 + 4 * 2
    assert (steps["labels", "0"], steps["variants2_x2_t4", "0"], steps["teacher", "0"]) == ("3", "6", "0")
    table = first.split("\n\n")[-1]
    assert len(table.splitlines()) == 2 + 1 + 1 + 2 * 2  # each baseline minus the other, and each student minus both
    folds = [tmp_path / "work" / "quick" / "sst2" / f"teacher_{i}_of_2" / "distillation.json" for i in (1, 2)]
    assert [json.loads(path.read_text())["dataset"]["train_rows"] for path in folds] == [22, 22]  # 44 in all
    path.write_text("".join(path.open().readlines()[:-1]))  # the last run was not finished
    second = run_benchmark(tmp_path)
    assert second.count("'arm'") == 1
    assert len(list(csv.DictReader(path.open()))) == 9
    assert second.split("\n\n")[-1].splitlines()[0] == table.splitlines()[0]
    tables = run_benchmark(tmp_path, "--tables", "--minus", "variants2_x2_t4")
    assert "'arm'" not in tables
    mean, difference = (
        [line.split("|") for line in part.splitlines() if "labels " in line] for part in tables.split("\n\n")[-2:]
    )
    scores = [float(run["score"]) for run in runs if run["arm"] == "labels"]
    assert float(mean[0][5]) == pytest.approx(50 * sum(scores), abs=0.01)
    assert [cell.strip() for cell in difference[0][1:6]] == ["sst2", "2", "labels", "variants2_x2_t4", "2"]


def test_students_can_start_from_another_encoder_with_other_tokens(tmp_path, tokenizer):
    write_task(tmp_path, tokenizer)
    other = tmp_path / "other"
    tokenizer.save_pretrained(other)
    words = json.loads((other / "tokenizer.json").read_text())
    ids = words["model"]["vocab"]
    ids |= dict(zip(WORDS, [ids[word] for word in WORDS[::-1]], strict=True))
    (other / "tokenizer.json").write_text(json.dumps(words))
    tiny_model(num_hidden_layers=3, hidden_size=24, seed=5).bert.save_pretrained(other)
    more = ["--student", other, "--bf16", "--teacher_epochs", 2, "--teacher_learning_rate", 1e-3]
    run_benchmark(tmp_path, *more, "--seeds", 0, arms="soft_after,variants1_mask")
    runs = list(csv.DictReader((tmp_path / "all_labels_quick.csv").open()))
    assert [(run["arm"], run["steps"]) for run in runs] == [
        ("teacher", "0"),
        ("soft_after", "3"),
        ("variants1_mask", "3"),
    ]
    record = json.loads((tmp_path / "work" / "quick" / "sst2" / "teacher" / "distillation.json").read_text())
    assert record["training"]["learning_rate"] == 1e-3
    with pytest.raises(
        AssertionError, match=r"have other settings: --student .*, --bf16 True. Pass these, or another"
    ):
        run_benchmark(tmp_path, "--seeds", 0, arms="soft")  # otherwise the teacher of these runs would be taken


def write_sentence_pairs(folder):
    """Write STS-B as its original files."""
    columns = ["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2"]
    (folder / "glue" / "STS-B").mkdir()
    for name, num_rows, seed in (("train", 60, 0), ("dev", 30, 1)):
        pairs = zip(tiny_rows(num_rows, seed), tiny_rows(num_rows, seed + 5), strict=True)
        rows = [
            "\t".join(["0"] * 7 + [one["text"], two["text"], str(i % 11 / 2)]) for i, (one, two) in enumerate(pairs)
        ]
        (folder / "glue" / "STS-B" / f"{name}.tsv").write_text(
            "\n".join(["\t".join([*columns, "score"]), *rows]) + "\n"
        )


def write_emotions(folder):
    """Write GoEmotions as its original files, with three labels."""
    (folder / "goemotions").mkdir()
    (folder / "goemotions" / "labels.txt").write_text("joy\nfear\nlove\n")
    for name, num_rows, seed in (("train", 60, 0), ("dev", 30, 1), ("test", 30, 2)):
        labels = ["0", "1", "2", "0,2"]
        rows = [f"{row['text']}\t{labels[i % 4]}\tid{i}" for i, row in enumerate(tiny_rows(num_rows, seed))]
        (folder / "goemotions" / f"{name}.tsv").write_text("\n".join(rows) + "\n")


def test_tasks_with_several_labels_and_with_numbers(tmp_path, tokenizer):
    write_task(tmp_path, tokenizer)
    write_sentence_pairs(tmp_path)
    write_emotions(tmp_path)
    arms = "labels_early,labels_variants,variants1"
    printed = run_benchmark(tmp_path, "--tasks", "stsb,goemotions", "--seeds", 0, arms=arms)
    runs = list(csv.DictReader((tmp_path / "all_labels_quick.csv").open()))
    assert [run["metric"] for run in runs] == ["pearson"] * 4 + ["f1_micro"] * 4
    assert [run["calibration_error"] == "" for run in runs] == [True] * 4 + [False] * 4
    assert all(float(run["cross_entropy"]) > 0 for run in runs)
    assert len(printed.split("\n\n")[-1].splitlines()) == 2 + 2 * 2  # the other baseline has no run
    with pytest.raises(AssertionError, match="'soft_t1' has a temperature, and the outputs of stsb have none"):
        run_benchmark(tmp_path, "--tasks", "stsb", arms="soft_t1")


@pytest.fixture(scope="module")
def paired():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return runpy.run_path(str(BENCHMARKS / "paired_intervals.py"))
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def run_scores():
    return runpy.run_path(str(BENCHMARKS / "run_scores.py"))["RunScores"]


def test_the_difference_is_the_mean_over_seeds_and_equal_models_differ_by_nothing(paired, run_scores):
    labels = np.arange(100) % 2
    half_right, right = np.where(np.arange(100) < 50, labels, 1 - labels), labels
    of_rows = run_scores("single_label_classification", "accuracy", labels, 2)
    scores = [of_rows.of_draws(np.eye(2)[answers]) for answers in (half_right, right)]
    value, low, high = paired["paired_interval"]([(scores[1], scores[0]), (scores[1], scores[1])], 100)
    assert value == pytest.approx(0.25)  # 0.5 with one seed and 0 with the other
    assert low == 0.0  # both seeds drawn can be the second
    assert 0.5 < high < 0.65
    assert paired["paired_interval"]([(scores[0], scores[0])], 100) == (0.0, 0.0, 0.0)


def test_the_interval_over_rows_has_the_width_of_the_standard_error(paired):
    values = np.random.default_rng(0).normal(1.0, 2.0, size=400)
    score = paired["mean_of_draws"]
    value, low, high = paired["paired_interval"]([(score(values), score(np.zeros(400)))], 400)
    assert value == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_the_metric_of_all_rows_is_that_of_the_library(run_scores):
    labels, answers = np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, 0, 1])
    every = np.ones((1, 5))
    for name, expected in (("accuracy", 0.8), ("f1", 0.8), ("matthews_correlation", 2 / 3)):
        scores = run_scores("single_label_classification", name, labels, 2)
        assert scores.of_draws(np.eye(2)[answers])(every)[0] == pytest.approx(expected)
        assert scores.of_rows(np.eye(2)[answers]) == pytest.approx(expected)


def test_losses_and_calibration_errors_of_each_kind(run_scores):
    classes = run_scores("single_label_classification", "accuracy", np.array([0, 1]), 2)
    logits = np.log(np.array([[0.8, 0.2], [0.6, 0.4]], dtype=np.float32))
    assert classes.losses(logits) == pytest.approx([-np.log(0.8), -np.log(0.4)])
    assert classes.calibration_error(logits) == pytest.approx((0.2 + 0.6) / 2)
    flags = run_scores("multi_label_classification", "f1_micro", np.array([[1.0, 0.0]]), 2)
    both = np.log(np.array([[0.8 / 0.2, 0.3 / 0.7]], dtype=np.float32))
    assert flags.losses(both) == pytest.approx([-(np.log(0.8) + np.log(0.7)) / 2])
    assert flags.calibration_error(both) == pytest.approx((0.2 + 0.3) / 2)
    assert flags.of_rows(both) == 1.0
    numbers = run_scores("regression", "pearson", np.array([1.0, 2.0, 4.0]), 1)
    guesses = np.array([[2.0], [3.0], [5.0]], dtype=np.float32)
    assert numbers.losses(guesses) == pytest.approx([1.0, 1.0, 1.0])
    assert numbers.calibration_error(guesses) is None
    assert numbers.of_draws(guesses)(np.array([[1.0, 2.0, 1.0]]))[0] == pytest.approx(1.0)


def test_folds_hold_each_row_once_each_class_evenly_and_a_repeated_text_on_one_side(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    split_folds = runpy.run_path(str(BENCHMARKS / "teacher_folds.py"))["split_folds"]
    texts = [f"number {i} of a long list of {i * 7919} different words" for i in range(45)]
    rows = [f"{text},{('bad', 'good', 'mixed')[i % 3]}" for i, text in enumerate(texts)]
    path = tmp_path / "train.csv"
    path.write_text("\n".join(["text,label", *rows, *[rows[0]] * 3]))
    task = load_text_dataset(train_file=path, needs_validation=False)
    folds = split_folds(task.datasets["train"], task, 4)
    assert sorted(np.concatenate(folds)) == list(range(48))
    assert [len(fold) for fold in folds] == [12, 12, 12, 12]
    labels = np.array(task.datasets["train"]["label"])
    assert all(np.bincount(labels[fold]).max() <= 6 for fold in folds)
    assert sum(bool(np.isin([0, 45, 46, 47], fold).any()) for fold in folds) == 1
    with pytest.raises(ValueError, match="at least 2 folds, got 1"):
        split_folds(task.datasets["train"], task, 1)


def test_the_name_of_an_arm_says_its_settings(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    parse = runpy.run_path(str(BENCHMARKS / "all_labels.py"))["parse"]
    default = {"x": 1.0, "hard": 0.1, "t": 2.0, "kind": "soft", "copies": 0, "folds": 0, "methods": DEFAULT_METHODS}
    default |= {"is_early": False, "is_after": False}
    assert parse("soft") == default
    assert parse("variants8_x3_hard0.5_t1") == {**default, "copies": 8, "x": 3.0, "hard": 0.5, "t": 1.0}
    assert parse("labels_variants") == {**default, "kind": "labels", "copies": 4}
    assert parse("labels_early")["is_early"]
    assert parse("folds4_variants_t1") == {**default, "folds": 4, "copies": 4, "t": 1.0}
    assert parse("soft_after")["is_after"]
    assert set(parse("variants4_mask_join")["methods"]) == {"mask", "join"}
    for name in ("sofd", "variants", "soft_hard", "soft_x1_y2"):
        with pytest.raises(SystemExit, match="Unknown arm"):
            parse(name)
