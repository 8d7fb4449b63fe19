"""The examples on the claims of Hinton et al. (2015)."""

import csv
import math
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from tiny import tiny_model
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


def test_a_teacher_is_trained_once_for_a_seed_and_the_student_gets_the_same_random_numbers(monkeypatch):
    module, trainings = load("common", monkeypatch), []
    task = load("tasks", monkeypatch)["make_digits"]()

    def count_training(network, inputs, labels):
        trainings.append(network)
        return network

    monkeypatch.setitem(module["train_teacher"].__globals__, "train_on_labels", count_training)
    first, first_draw = module["train_teacher"](task, 0), torch.rand(1)
    again, second_draw = module["train_teacher"](task, 0), torch.rand(1)
    assert first is again
    assert first_draw == second_draw
    assert len(trainings) == 1
    assert module["train_teacher"](task, 1) is not first


RUNS = {
    "many_in_one": lambda run, digits: run(8, "bags", 99, digits),
    "omitted_class": lambda run, digits: run("soft", 4, 99, digits, 3),
    "regularizer": lambda run, digits: run("soft", 0.1, 99, digits),
    "temperature": lambda run, digits: run(8, "soft", 4, 99),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_returns_the_columns_of_the_results(name, monkeypatch):
    module = load(name, monkeypatch)
    train = sys.modules["common"].train
    monkeypatch.setattr(sys.modules["common"], "train", lambda *args: train(*args[:3], num_steps=2))
    row = RUNS[name](module["run"], module["load_task"]("digits", None))
    header = (HINTON / "results" / f"{name}.csv").read_text(encoding="utf-8").splitlines()[0]
    assert list(row) == header.split(",")
    assert all(0 <= value <= 1 for column, value in row.items() if "accuracy" in column or "student" in column)


def test_the_bias_is_raised_by_what_the_omitted_class_lacks(monkeypatch):
    module = load("omitted_class", monkeypatch)
    digits = module["load_task"]("digits", None)
    network = nn.Sequential(nn.Linear(64, 10))
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].bias.zero_()
        network[0].bias[3] = -2.1
    # All other classes are equal: the answer is 0 until the 3 is above them, and there are more 3s than 0s.
    counts = torch.bincount(digits.train_labels)
    expected = 2.25 if counts[3] > counts[0] else 0.0
    assert module["best_bias"](network, digits, 3) == expected


@pytest.fixture
def banking77_folder(tmp_path):
    """Four classes in two confusable pairs, with texts made here."""
    texts = {
        "lost_card": ["my card is gone", "I cannot find my card", "my card is lost"],
        "stolen_card": ["my card was stolen", "a thief took my card", "my card was taken"],
        "slow_transfer": ["the transfer is slow", "where is the transfer", "the transfer takes long"],
        "failed_transfer": ["the transfer failed", "the transfer was refused", "why has the transfer failed"],
    }
    folder = tmp_path / "banking77"
    folder.mkdir()
    for split, rows in (("train", slice(None)), ("test", slice(1))):
        lines = [f"{text},{name}" for name, own_texts in texts.items() for text in own_texts[rows]]
        (folder / f"{split}.csv").write_text("\n".join(["text,category", *lines]) + "\n", encoding="utf-8")
    return folder


def test_texts_become_features_and_classes_are_numbered_by_name(banking77_folder, monkeypatch):
    task = load("tasks", monkeypatch)["make_banking77"](banking77_folder)
    assert task.class_names == ["failed_transfer", "lost_card", "slow_transfer", "stolen_card"]
    assert task.train_labels.tolist() == [1, 1, 1, 3, 3, 3, 2, 2, 2, 0, 0, 0]
    assert task.test_labels.tolist() == [1, 3, 2, 0]
    assert task.train_inputs.shape[0] == 12
    assert torch.allclose(task.test_inputs, task.train_inputs[::3], atol=1e-5)  # the same texts


def test_banking77_without_its_folder_is_refused_with_what_to_pass(tmp_path, monkeypatch):
    load_task = load("tasks", monkeypatch)["load_task"]
    for folder in (None, tmp_path):
        with pytest.raises(SystemExit, match=rf"--data_dir is {folder}\. Pass a folder that holds train\.csv"):
            load_task("banking77", folder)


def test_a_gain_is_paired_by_seed_and_has_a_standard_error(monkeypatch):
    format_gain = load("common", monkeypatch)["format_gain"]
    # 10 and 20 points: the mean is 15, the deviation 7.07, and its error with two seeds 5.
    assert format_gain([0.9, 0.8], [0.8, 0.6]) == "+15.0 ± 5.0"


def test_errors_are_counted_within_the_clusters_of_the_answers(monkeypatch):
    share = load("specialists", monkeypatch)["share_within_clusters"]
    answers, labels = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0, 1, 2, 3, 0])
    # Four errors, of which 0 for 1 and 2 for 3 stay in their cluster.
    assert share(answers, labels, [torch.tensor([0, 1]), torch.tensor([2, 3])]) == 0.5


def test_an_ensemble_answers_with_the_mean_of_its_members_probabilities(monkeypatch):
    ensemble_logits = load("many_in_one", monkeypatch)["ensemble_logits"]
    members = [nn.Sequential(nn.Linear(1, 2)) for _ in range(2)]
    with torch.no_grad():
        for member, odds in zip(members, (1.0, 3.0), strict=True):
            member[0].weight.zero_()
            member[0].bias.copy_(torch.tensor([odds, 1.0]).log())  # probabilities of the first class: 1/2 and 3/4
    assert ensemble_logits(members, torch.zeros(1, 1)).exp()[0].tolist() == pytest.approx([0.625, 0.375])


def test_the_gain_that_a_student_keeps_is_over_a_network_that_saw_all_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["many_in_one.py", "--output_dir", str(tmp_path), "--num_seeds", "1"])
    (tmp_path / "many_in_one.csv").write_text(
        "num_units,ensemble_kind,seed,member,student_of_member,student_1,student_2,student_4,ensemble\n"
        "16,seeds,0,.8,.8,.88,.8,.79,.9\n16,bags,0,.7,.7,.85,.9,.8,.9\n8,seeds,0,.5,.5,.6,.6,.6,.6\n"
    )
    load("many_in_one", monkeypatch)["main"]()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [
        "| 16 | seeds | 80.0 | 80.0 | 88.0 (80%) | 80.0 (0%) | 79.0 (-10%) | 90.0 |",
        "| 16 | bags | 70.0 | 70.0 | 85.0 (50%) | 90.0 (100%) | 80.0 (0%) | 90.0 |",
        "| 8 | seeds | 50.0 | 50.0 | 60.0 (100%) | 60.0 (100%) | 60.0 (100%) | 60.0 |",
    ]


def test_classes_that_are_confused_form_a_cluster(monkeypatch):
    module = load("specialists", monkeypatch)
    task = module["Task"](torch.eye(4), torch.arange(4), torch.eye(4), torch.arange(4), list("abcd"))
    generalist = nn.Sequential(nn.Linear(4, 4, bias=False))
    with torch.no_grad():
        generalist[0].weight.copy_(
            4 * torch.tensor([[1.0, 0, 0.9, 0], [0, 1, 0, 0.9], [0.9, 0, 1, 0], [0, 0.9, 0, 1]])
        )
    clusters = module["find_clusters"](generalist, task, 2, 0)
    assert sorted(cluster.tolist() for cluster in clusters) == [[0, 2], [1, 3]]


def test_a_specialist_starts_from_the_generalist_and_its_dustbin_is_corrected_for_the_rows(monkeypatch):
    module = load("specialists", monkeypatch)
    monkeypatch.setitem(module["train_specialist"].__globals__, "SPECIALIST_STEPS", 0)
    inputs, labels = torch.randn(10, 3), torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 3, 3])
    task = module["Task"](inputs, labels, inputs, labels, list("abcd"))
    generalist = nn.Sequential(nn.Linear(3, 4))
    specialist = module["train_specialist"](generalist, task, torch.tensor([2]))
    logits, specialist_logits = (module["predict"](network, inputs) for network in (generalist, specialist))
    # 2 of 10 rows are from the cluster, and in training they are as frequent as the 8 others.
    expected = torch.stack([logits[:, 2], logits[:, [0, 1, 3]].mean(dim=1) + math.log(4)], dim=1)
    assert torch.allclose(specialist_logits, expected, atol=1e-5)


def test_generalist_and_specialist_combine_to_the_minimum_of_equation_5(monkeypatch):
    combine = load("specialists", monkeypatch)["combine"]
    generalist, specialist = torch.tensor([[0.4, 0.2, 0.3, 0.1]]), torch.tensor([[0.2, 0.6, 0.2]])
    cluster = torch.tensor([0, 1])
    combined = combine(generalist, specialist, cluster)
    # (.4 + .2) / 2, (.2 + .6) / 2, and (.4 + .2) / 2 for the two others, shared 3 : 1 as the generalist shares them
    assert combined[0].tolist() == pytest.approx([0.3, 0.4, 0.225, 0.075])

    def equation_5(q):
        with_dustbin = torch.stack([q[0], q[1], q[2] + q[3]])
        return sum((p * (p / r).log()).sum() for p, r in ((generalist[0], q), (specialist[0], with_dustbin)))

    logits = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        equation_5(logits.softmax(dim=0)).backward()
        optimizer.step()
    assert torch.allclose(logits.softmax(dim=0), combined[0], atol=1e-3)
    assert equation_5(combined[0]) <= equation_5(logits.softmax(dim=0).detach()) + 1e-6


def test_specialists_run_on_a_folder_of_texts_and_are_not_trained_again(
    banking77_folder, tmp_path, monkeypatch, capsys
):
    module = load("specialists", monkeypatch)
    settings = {"NUM_SPECIALISTS": 2, "GENERALIST_STEPS": 40, "SPECIALIST_STEPS": 5}
    for name, value in settings.items():
        monkeypatch.setitem(module["main"].__globals__, name, value)
    argv = ["specialists.py", "--data_dir", str(banking77_folder), "--output_dir", str(tmp_path), "--num_seeds", "1"]
    monkeypatch.setattr(sys, "argv", argv)
    module["main"]()
    first = capsys.readouterr().out
    row = module["Results"](tmp_path / "specialists.csv", ()).rows[0]
    assert all(0 <= float(row[name]) <= 1 for name in module["MODELS"])
    shutil.rmtree(banking77_folder)
    module["main"]()
    assert capsys.readouterr().out == first


NAMES = ("gradients", "many_in_one", "omitted_class", "regularizer", "specialists", "temperature")
BANKING77_RESULTS = [(name, f"{name}_banking77") for name in ("omitted_class", "regularizer")]


@pytest.mark.parametrize(("name", "result"), [*((name, name) for name in NAMES), *BANKING77_RESULTS])
def test_the_table_of_the_readme_is_that_of_the_results(name, result, tmp_path, monkeypatch, capsys):
    shutil.copy(HINTON / "results" / f"{result}.csv", tmp_path)
    flags = [] if result == name else ["--task", "banking77", "--data_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--output_dir", str(tmp_path), *flags])
    main = load(name, monkeypatch)["main"]
    main()
    assert capsys.readouterr().out in (HINTON / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / f"{result}.png").stat().st_size > 10_000
    assert (tmp_path / f"{result}.csv").read_text() == (HINTON / "results" / f"{result}.csv").read_text()


def test_a_student_learns_from_teachers_of_different_origin(
    banking77_folder, tmp_path, tokenizer, monkeypatch, capsys
):
    for name, num_layers in (("first", 2), ("second", 3)):
        tiny_model(num_layers, seed=num_layers).bert.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    arguments = {
        "data_dir": banking77_folder, "encoder": tmp_path / "first", "second_encoder": tmp_path / "second",
        "num_labels": 8, "seeds": "0,1", "output_dir": tmp_path / "out", "work_dir": tmp_path / "work",
    }  # fmt: skip
    flags = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["unlike_teachers.py", *flags, "--quick", "--use_cpu"])
    main = load("unlike_teachers", monkeypatch)["main"]
    main()
    table = capsys.readouterr().out
    assert [line.split(" | ")[0] for line in table.splitlines()[-4:]] == [
        "| no teacher", "| MiniLM", "| MPNet", "| both",
    ]  # fmt: skip
    with (tmp_path / "out" / "unlike_teachers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["teachers"] for row in rows] == ["no teacher", "MiniLM", "MPNet", "both"] * 2
    shutil.rmtree(tmp_path / "work")  # nothing is trained again
    main()
    assert capsys.readouterr().out.splitlines()[-6:] == table.splitlines()[-6:]
