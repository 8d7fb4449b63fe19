"""Models that come with Python files: if their code is trusted, they are trained, compared and published."""

import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import flags
from docs_folder import save
from hub_server import run_against
from tiny import tiny_model

from hf_distill.cli import main
from hf_distill.export.loading import load_export_tokenizer
from hf_distill.hub.upload import files_to_push
from hf_distill.search import results

CONFIGURATION = """
from transformers import BertConfig


class OwnConfig(BertConfig):
    model_type = "own"
"""
MODELING = """
from transformers import BertForSequenceClassification

from .configuration_own import OwnConfig


class OwnModel(BertForSequenceClassification):
    config_class = OwnConfig
"""
TOKENIZATION = """
from transformers import PreTrainedTokenizerFast


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""
LOAD = """
import json
from transformers import pipeline
classifier = pipeline("text-classification", model="tester/out", top_k=None, trust_remote_code=True)
print(json.dumps(classifier(["a great film"])[0]))
"""
TRUST = ["--trust_remote_code", "True"]


@pytest.fixture
def teacher(tmp_path, tokenizer):
    """A teacher with code in two files, of which the config names one."""
    folder = tmp_path / "own"
    save(tiny_model(3, seed=3), folder, tokenizer)
    (folder / "configuration_own.py").write_text(CONFIGURATION)
    (folder / "modeling_own.py").write_text(MODELING)
    classes = {
        "AutoConfig": "configuration_own.OwnConfig",
        "AutoModelForSequenceClassification": "modeling_own.OwnModel",
    }
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "architectures": ["OwnModel"], "auto_map": classes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def arguments(folder, teacher, tmp_path):
    given = flags(folder, tmp_path / "out", teacher_model_name_or_path=teacher, max_steps=2)
    return ["train", *given, "--teacher_trust_remote_code", "True", "--baseline"]


@pytest.fixture
def out(arguments, tmp_path):
    main(arguments)
    return tmp_path / "out"


def test_the_printed_commands_compare_and_export_a_student_with_code(arguments, tmp_path, capsys):
    main(arguments)
    compare, export, _ = (shlex.split(line) for line in capsys.readouterr().out.split("\nNext:\n")[1].splitlines())
    for command in (compare, export):
        assert command[command.index(TRUST[0]) :][:2] == TRUST
    with pytest.raises(SystemExit):
        main([word for word in compare[1:] if word not in TRUST])
    assert "On the command line: --trust_remote_code True." in capsys.readouterr().err
    main([*compare[1:], "--latency_rounds", "0"])
    models = json.loads((tmp_path / "out" / "report" / "report.json").read_text())["models"]
    assert models.keys() == {"teacher", "student", "baseline"}


def test_a_published_student_has_its_code_and_loads_as_its_card_says(out, server, tmp_path, capsys):
    (out / "notes.py").write_text("print('not needed by the model')")
    main(["push", "--folder", str(out), "--hub_model_id", "tester/out"])
    assert "Not pushed: baseline, checkpoint-2, distillation_rows.npz, notes.py" in capsys.readouterr().out
    files = server.repos["tester/out"].files
    assert {name for name in files if name.endswith(".py")} == {"configuration_own.py", "modeling_own.py"}
    card = files["README.md"].decode()
    assert 'pipeline("text-classification", model="tester/out", trust_remote_code=True)' in card
    assert "loads with Transformers like any other model" not in card
    loaded = run_against(server, LOAD, tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    assert {answer["label"] for answer in json.loads(loaded.stdout.splitlines()[-1])} == {
        "negative", "neutral", "positive"
    }  # fmt: skip


def test_code_that_leads_out_of_the_folder_or_is_missing_stops_a_push(out, tmp_path):
    names = ("modeling_own.py", "configuration_own.py")
    config = json.loads((out / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling_own.OwnModel"}  # which imports the other
    (out / "config.json").write_text(json.dumps(config))
    for name in names:
        elsewhere = (out / name).rename(tmp_path / f"elsewhere_{name}")
        with pytest.raises(ValueError, match=f"{name}.* does not exist, so nobody could load the model"):
            files_to_push(out)
        (out / name).symlink_to(elsewhere)
        with pytest.raises(ValueError, match=f"{name} is a link that leads out of"):
            files_to_push(out)
        (out / name).unlink()
        elsewhere.rename(out / name)
    assert {*names} <= files_to_push(out).keys()


@pytest.mark.parametrize(
    "auto_map", [None, [None, "other/repository--modeling_own.OwnModel"], {"AutoModel": "a/b--c.D"}]
)
def test_code_of_another_repository_is_not_published(out, auto_map):
    for name in ("config.json", "tokenizer_config.json"):
        config = json.loads((out / name).read_text())
        (out / name).write_text(json.dumps({**config, "auto_map": auto_map}))
    assert not [name for name in files_to_push(out) if Path(name).suffix == ".py"]


def test_a_tokenizer_with_code_is_on_the_card_and_is_not_replaced_in_silence(folder, tmp_path, tokenizer, caplog):
    teacher = tmp_path / "teacher"
    save(tiny_model(3, seed=3), teacher, tokenizer)
    (teacher / "tokenization_own.py").write_text(TOKENIZATION)
    config = json.loads((teacher / "tokenizer_config.json").read_text())
    config["auto_map"] = {"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]}
    (teacher / "tokenizer_config.json").write_text(json.dumps(config))
    given = flags(folder, tmp_path / "out", teacher_model_name_or_path=teacher, max_steps=2)
    main(["train", *given, "--dry_run"])
    assert "comes with its own code, which was not run" in caplog.text
    caplog.clear()
    main(["train", *given, "--teacher_trust_remote_code", "True"])
    assert "comes with its own code" not in caplog.text
    assert "trust_remote_code=True)" in (tmp_path / "out" / "README.md").read_text()
    assert "tokenization_own.py" in files_to_push(tmp_path / "out")
    load_export_tokenizer(tmp_path / "out", None)  # an export has a tokenizer.json, and never code
    assert "comes with its own code, which was not run" in caplog.text


def test_a_search_exports_a_winner_with_code(teacher, tokenizer, tmp_path, monkeypatch):
    exported = []
    monkeypatch.setattr(results, "export_student", lambda model, *_: exported.append(type(model).__name__))
    architecture = SimpleNamespace(variant="float32")
    winner = SimpleNamespace(
        folders=[teacher], best_run=lambda _: 0, candidate=SimpleNamespace(architecture=architecture)
    )
    inputs = SimpleNamespace(tokenizer=tokenizer, max_length=64)
    rows = SimpleNamespace(task=SimpleNamespace(metric_name="accuracy"), texts=None)
    trials = SimpleNamespace(trainings=SimpleNamespace(inputs_for=lambda _: inputs), rows=rows)
    with pytest.raises(ValueError, match="trust_remote_code"):
        results.ship(winner, trials, {}, tmp_path / "search")
    results.ship(winner, trials, {"teacher_trust_remote_code": True}, tmp_path / "search")
    assert exported == ["OwnModel"]


@pytest.mark.parametrize("command", ["train", "search"])
def test_a_refusal_names_the_flag_of_the_command(folder, teacher, tmp_path, capsys, command):
    given = {"teacher_model_name_or_path": teacher}
    if command == "search":
        given |= {"student_num_hidden_layers": None, "require": "accuracy >= 0.1"}
    with pytest.raises(SystemExit):
        main([command, *flags(folder, tmp_path / "out", **given)])
    assert "On the command line: --teacher_trust_remote_code True" in capsys.readouterr().err
