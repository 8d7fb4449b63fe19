"""A search from the command line: what it finds, what it writes, and what it refuses."""

import csv
import functools
import json

import pytest
import torch
import yaml
from command_line import flags
from one_plot import draw_one_plot
from tiny import tiny_model, tiny_rows
from transformers import AutoModelForSequenceClassification

from hf_distill import Predictor
from hf_distill.cache import fingerprint
from hf_distill.cli import main
from hf_distill.search import architectures, finalists, measuring, results, trainings

SPACE = {
    "depth": [1, 2],
    "layers": ["first"],
    "width": ["all"],
    "vocabulary": ["trimmed"],
    "variant": ["float32"],
    "learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
}


def search_flags(folder, output_dir, space=SPACE, **changes):
    """Flags of a search with three trials of four steps, in which every student is good enough."""
    path = output_dir.with_name(f"{output_dir.name}.yaml")
    path.write_text(yaml.safe_dump(space))
    values = {
        "student_num_hidden_layers": None,
        "num_train_epochs": None,
        "max_steps": 4,
        "space": path,
        "num_trials": 3,
        "minimize": "size",
        "require": "accuracy >= 0.1",
        "teacher_cache_dir": folder / "cache",
        "hard_label_weight": 0.5,
        "temperature": 2.0,
        **changes,
    }
    return flags(folder, output_dir, **values)


def cost_of(model, *_):
    """What an architecture costs apart from time, in place of an export, which takes seconds."""
    layers = model.config.num_hidden_layers
    return {"size_mb": layers / 100, "num_parameters": 1000 * layers, "flops": layers}


def latencies_of(loaders, texts):
    """The number of layers of a student, in place of its latency."""
    names = ("p50", "p95", "p99")
    return {
        model: {f"latency_{name}_ms": float(model[0] if model[0].isdigit() else 4) for name in names}
        for model in loaders
    }


@pytest.fixture(scope="module", autouse=True)
def _known_costs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "describe_export", cost_of)
        patch.setattr(measuring, "measure_latencies", latencies_of)
        draw_one_plot(patch)  # in the report on the winner
        patch.setattr(results, "compare_models", functools.partial(results.compare_models, latency_rounds=0))
        yield


@pytest.fixture(scope="module")
def searched(folder, tmp_path_factory):
    """The folder of a finished search with one finalist and two seeds."""
    out = tmp_path_factory.mktemp("searched") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finalists, "NUM_FINALISTS", 1)
        patch.setattr(finalists, "NUM_SEEDS", 2)
        main(["search", *search_flags(folder, out, test_file=folder / "validation.csv")])
    return out


@pytest.fixture
def _teacher_must_not_run(monkeypatch):
    def run(self):
        raise AssertionError("the teacher ran")

    monkeypatch.setattr(trainings.Trainings, "label", run)


def count_hashed_weights(monkeypatch):
    """A list to which the name of every weight is added that is hashed from now on."""
    names, hash_value = [], fingerprint._hash_value
    monkeypatch.setattr(
        fingerprint, "_hash_value", lambda digest, name, value: names.append(name) or hash_value(digest, name, value)
    )
    return names


def weights(folder):
    return AutoModelForSequenceClassification.from_pretrained(folder).state_dict()


def summary(folder):
    return json.loads((folder / "search.json").read_text())


def refused(arguments, capsys, status=2):
    """The last line that a refused command prints."""
    with pytest.raises(SystemExit) as stopped:
        main(["search", *arguments])
    assert stopped.value.code == status
    printed = capsys.readouterr()
    return printed.err.strip().splitlines()[-1] if status == 2 else printed.out


def test_the_winner_is_the_cheapest_student_that_meets_the_requirements(searched):
    content = summary(searched)
    assert content["winner"]["architecture"] == min(
        (trial for trial in content["trials"] if trial["is_met"]), key=lambda trial: trial["size_mb"]
    )["architecture"]  # fmt: skip


def test_the_recipe_reproduces_the_winner_bit_for_bit(searched, folder, tmp_path):
    # The teacher runs anew, so the random numbers that its pass draws must not matter.
    changes = ["--output_dir", str(tmp_path / "again"), "--teacher_cache_dir", str(tmp_path / "cache")]
    main(["train", "--config", str(searched / "recipe.yaml"), *changes])
    first, second = weights(searched / "student"), weights(tmp_path / "again")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_table_has_every_trial(searched):
    with (searched / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    assert all(1e-3 <= float(row["learning_rate"]) <= 1e-2 and float(row["size_mb"]) > 0 for row in rows)


def test_the_export_and_the_report_on_the_test_rows_are_there(searched):
    text = "a very good film"
    answer = Predictor(searched / "export")([text])[0]
    assert answer["label"] in ("negative", "neutral", "positive")
    assert (searched / "report" / "report.html").is_file()
    report = json.loads((searched / "report" / "report.json").read_text())
    assert list(report["models"]) == ["teacher", "student"]
    assert report["requirements"]["results"][0]["text"] == "accuracy >= 0.1"


def test_the_page_shows_the_trials_and_loads_nothing(searched):
    page = (searched / "search.html").read_text()
    assert "Metric against latency" in page
    assert "winner, mean of its seeds" in page
    assert "floor (TF-IDF)" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert (searched / "plots" / "metric_and_size.png").stat().st_size > 5000


def test_a_finished_search_trains_and_judges_nothing_again(searched, folder, monkeypatch):
    monkeypatch.setattr(finalists, "NUM_FINALISTS", 1)
    monkeypatch.setattr(finalists, "NUM_SEEDS", 2)
    for name in ("train", "make"):
        monkeypatch.setattr(trainings.Trainings, name, lambda *_: pytest.fail("a student was made again"))
    monkeypatch.setattr(results, "judge", lambda *_: pytest.fail("the winner was judged again"))
    before, weights_before = summary(searched), weights(searched / "student")
    main(["search", *search_flags(folder, searched, test_file=folder / "validation.csv")])
    after = summary(searched)
    for key in ("trials", "winner", "architectures", "finalists", "test"):
        assert after[key] == before[key]
    assert all(torch.equal(weights_before[name], weight) for name, weight in weights(searched / "student").items())


@pytest.mark.usefixtures("_teacher_must_not_run")
def test_the_output_folder_of_another_search_is_refused(searched, folder, capsys):
    arguments = search_flags(folder, searched, require="accuracy >= 0.2", seed=1)
    message = refused(arguments, capsys)
    assert 'requirements was ["accuracy >= 0.1"], now ["accuracy >= 0.2"]; seed was 42, now 1' in message


@pytest.mark.usefixtures("_teacher_must_not_run")
def test_impossible_costs_end_with_the_nearest_students_before_the_teacher_runs(folder, tmp_path, capsys):
    arguments = search_flags(folder, tmp_path / "out", require="accuracy >= 0.1")
    printed = refused([*arguments, "--require", "size_mb <= 0.001"], capsys, status=3)
    assert "The nearest ones:\n  1 layer, trimmed vocabulary, float32: size_mb <= 0.001: 0.01" in printed


@pytest.mark.usefixtures("_teacher_must_not_run")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"require": None}, "No requirement on quality given"),
        ({"require": "pearson >= 0.9"}, "`pearson >= 0.9`: a search for train (single"),
        ({"require": "acuracy >= 0.9"}, "Did you mean 'accuracy'?"),
        ({"validation_file": None}, "validation"),
        ({"max_steps": 3}, "The shortest trial takes 3 optimizer steps on 24 rows, and successive halving"),
        ({"max_steps": 1}, "The shortest trial takes 1 optimizer step on 24 rows, and successive halving"),
        (
            {"require": "recall[bored] >= 0.9"},
            "there is no class 'bored'. The classes are negative, neutral, positive",
        ),
        (
            {"require": "ece <= 0.1"},
            "`ece <= 0.1`: a search for train (single_label_classification) can judge accuracy",
        ),
        ({"space": {"depth": [9, 8]}}, "made and exported. The student's number of layers must be from 1 to 4"),
        ({"space": {"students": ["/missing/model"]}}, "The tokenizer of '/missing/model' cannot be loaded"),
        ({"teacher_model_name_or_path": None}, "A search needs a teacher"),
        ({"resume_from_checkpoint": "True"}, "--resume_from_checkpoint has no place in a search"),
        ({"storage": "nosuchdatabase://host"}, "The storage cannot be opened"),
        ({"num_trials": 0}, "--num_trials must be at least 1, got 0"),
        ({"learning_rate": 0.01}, "The space has `learning_rate`, but --learning_rate sets it"),
    ],
)
def test_what_cannot_work_is_refused_before_the_teacher_runs(folder, tmp_path, capsys, changes, message):
    assert message in refused(search_flags(folder, tmp_path / "out", **changes), capsys)


@pytest.mark.usefixtures("_teacher_must_not_run")
def test_validation_rows_without_labels_are_refused_before_the_teacher_runs(folder, tmp_path, capsys):
    path = tmp_path / "unlabelled.csv"
    path.write_text("text,label\n" + "".join(f"{row['text']},\n" for row in tiny_rows(24)))
    message = refused(search_flags(folder, tmp_path / "out", validation_file=path), capsys)
    assert "None of the 24 validation rows has a label" in message


def test_a_space_that_does_not_exist_is_refused(folder, tmp_path, capsys):
    arguments = search_flags(folder, tmp_path / "out")
    assert "missing.yaml" in refused([*arguments, "--space", "missing.yaml"], capsys)


@pytest.mark.usefixtures("known_graphs")
def test_an_export_is_measured_one_text_at_a_time(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(architectures, "_CALLS", 5)
    texts = [row["text"] for row in tiny_rows(20)]
    cost = architectures.describe_export(tiny_model(1, seed=8), tokenizer, texts, "float32", 128, tmp_path / "export")
    loaders = {"student": measuring._loader_of(tmp_path / "export")}
    cost |= architectures.measure_latencies(loaders, texts)["student"]
    num_parameters = tiny_model(1, seed=8).num_parameters()
    assert cost["num_parameters"] == num_parameters
    assert cost["size_mb"] == pytest.approx(4 * num_parameters / 1e6, rel=1.0)  # the graph of a tiny model weighs, too
    assert 0 < cost["latency_p50_ms"] <= cost["latency_p95_ms"]
    assert cost["flops"] > 0


def test_models_take_turns_in_which_they_answer_the_same_texts(monkeypatch):
    """40 calls are two rounds of 20, each after 3 calls that are not measured."""
    monkeypatch.setattr(architectures, "_CALLS", 40)
    answered = []

    def loader(name):
        def load():
            answered.append((name, []))
            return answered[-1][1].append

        return load

    texts = [f"text {i}" for i in range(30)]
    latencies = architectures.measure_latencies({"a": loader("a"), "b": loader("b")}, texts)
    assert [name for name, _ in answered] == ["a", "b", "a", "b"]
    assert [len(calls) for _, calls in answered] == [23, 23, 23, 23]
    assert answered[0][1] == answered[1][1]
    assert set(answered[0][1] + answered[2][1]) == set(texts)
    assert 0 < latencies["b"]["latency_p50_ms"] <= latencies["b"]["latency_p95_ms"]


def test_requirements_that_no_trial_meets_end_with_the_nearest_trials(folder, tmp_path, capsys, monkeypatch):
    hashed = count_hashed_weights(monkeypatch)
    arguments = search_flags(folder, tmp_path / "out", require="accuracy > 1", num_trials=1)
    printed = refused(arguments, capsys, status=3)
    assert "No student meets the requirements on quality. The nearest ones:" in printed
    assert "(short by 0." in printed
    assert "winner" not in summary(tmp_path / "out")
    assert hashed.count("bert.encoder.layer.3.output.dense.weight") == 1  # only the teacher has a fourth layer
    assert "✕ No" in (tmp_path / "out" / "search.html").read_text()
