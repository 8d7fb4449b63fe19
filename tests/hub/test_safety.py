"""Foreign files run no code, secrets are not published, and names cannot lead out of a folder."""

import ast
import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from command_line import flags
from datasets import Dataset
from forked import run_forked
from hub_server import HubServer, run_against
from invariance import make_trainer
from tiny import tiny_model

import hf_distill
from hf_distill.cli import main
from hf_distill.data import write_labelled
from hf_distill.hub.card.model_card import model_card
from hf_distill.pipeline.loading import ModelReference, load_tokenizer
from hf_distill.students import create_student
from hf_distill.teachers import load_teacher
from hf_distill.utils.redaction import without_secrets

PACKAGE = Path(hf_distill.__file__).parent

# ---- Pickles ----


def dangerous(path):
    """Yield the calls and imports of a source file that can run code from data."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            yield from names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
        if not isinstance(node, ast.Call):
            continue
        name, given = ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name in ("eval", "exec", "yaml.load", "yaml.unsafe_load", "torch.save"):
            yield name
        if name == "torch.load" and given.get("weights_only") != "True":
            yield name
        if given.get("allow_pickle", "False") != "False" or given.get("trust_remote_code") == "True":
            yield f"{name}(...)"
        if name.endswith(".from_pretrained") and "trust_remote_code" not in given:
            yield f"{name} without `trust_remote_code`, which asks on the terminal"


def test_the_check_of_sources_finds_what_is_dangerous(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "import pickle\ntorch.load(f)\ntorch.load(f, weights_only=True)\nyaml.load(f)\nyaml.safe_load(f)\n"
        "np.load(f, allow_pickle=True)\nAutoModel.from_pretrained(n)\nf(trust_remote_code=True)\n"
    )
    assert len(list(dangerous(path))) == 6


def test_no_module_runs_code_from_data():
    paths = sorted(PACKAGE.rglob("*.py"))
    assert len(paths) > 300
    assert {path: calls for path in paths if (calls := list(dangerous(path)))} == {}


class Exploit:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


@pytest.fixture(scope="module")
def saved(models, dataset, tokenizer, tmp_path_factory):
    """An output folder after training and saving, with checkpoints."""
    out = tmp_path_factory.mktemp("saved")
    settings = {"save_strategy": "steps", "save_steps": 1, "max_steps": 2, "report_to": "tensorboard"}
    trainer = make_trainer(*models, dataset, tokenizer, out, **settings)
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    return out


def test_the_only_pickles_are_in_trainers_checkpoints(saved):
    heads = {path.relative_to(saved): path.read_bytes()[:2] for path in saved.rglob("*") if path.is_file()}
    pickles = {path for path, head in heads.items() if head in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05")}
    expected = {"optimizer.pt", "scheduler.pt", "rng_state.pth"}
    assert pickles == {Path(f"checkpoint-{step}", name) for step in (1, 2) for name in expected}
    assert not list(saved.rglob("_writing-*"))


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_checkpoint_that_would_run_code_is_refused(saved, models, dataset, tokenizer, tmp_path, name):
    checkpoint, canary = tmp_path / "checkpoint-1", tmp_path / "canary"
    shutil.copytree(saved / "checkpoint-1", checkpoint)
    torch.save(Exploit(canary), checkpoint / name)
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, max_steps=2)
    with pytest.raises(ValueError, match=f"is damaged: {name} is missing, truncated or changed"):
        trainer.train(resume_from_checkpoint=str(checkpoint))
    (checkpoint / "run.json").unlink()  # whoever can write the file can do this as well
    with pytest.raises(Exception, match="[Ww]eights.only"):
        trainer.train(resume_from_checkpoint=str(checkpoint))
    assert not canary.exists()


# ---- Code that comes with a model ----


@pytest.fixture
def custom(tmp_path, tokenizer):
    """A model whose code leaves a file behind when it is run."""
    custom, canary = tmp_path / "custom", tmp_path / "canary"
    tiny_model(num_hidden_layers=1, seed=3).save_pretrained(custom)
    tokenizer.save_pretrained(custom)
    (custom / "modeling_canary.py").write_text(
        f"from pathlib import Path\nfrom transformers import BertConfig, BertForSequenceClassification\n"
        "from transformers.modeling_outputs import SequenceClassifierOutput\n"
        f"Path({str(canary)!r}).touch()\n"
        "class CanaryConfig(BertConfig):\n    model_type = 'birdcage'\n"
        "class CanaryModel(BertForSequenceClassification):\n    config_class = CanaryConfig\n"
        # Only the embeddings, because the export of a layer takes five seconds.
        "    def forward(self, input_ids, attention_mask=None, **kwargs):\n"
        "        mask = attention_mask[:, :, None]\n"
        "        words = self.bert.embeddings.word_embeddings(input_ids)\n"
        "        return SequenceClassifierOutput(logits=self.classifier((words * mask).sum(1) / mask.sum(1)))\n"
    )
    config = json.loads((custom / "config.json").read_text())
    classes = {"AutoConfig": "CanaryConfig", "AutoModelForSequenceClassification": "CanaryModel"}
    config |= {"model_type": "birdcage", "auto_map": {auto: f"modeling_canary.{c}" for auto, c in classes.items()}}
    (custom / "config.json").write_text(json.dumps(config))
    return custom, canary


def test_code_of_a_model_is_not_run_by_default(custom):
    path, canary = custom
    for load in (load_teacher, lambda name: create_student(name, 1)):
        with pytest.raises(ValueError, match="trust_remote_code"):
            load(path)
    load_tokenizer(ModelReference(str(path)))
    assert not canary.exists()
    assert type(load_teacher(path, trust_remote_code=True)).__name__ == "CanaryModel"
    assert canary.exists()


LOADS = """
import sys
import torch
from hf_distill import DistillationTrainer, TeacherCache, compare_models, export_model
from hf_distill.cli import main
from hf_distill.export.loading import load_classifier
from hf_distill.students import create_student
from hf_distill.teachers import load_teacher
sys.path.insert(0, {support!r})
from tiny import tiny_dataset, tiny_model, tiny_tokenizer

path, other, tokenizer, out = {path!r}, {other!r}, tiny_tokenizer(), {out!r}
data = ["--validation_file", other + "/../validation.csv"]
loads = [
    lambda: load_teacher(path), lambda: create_student(path, 1), lambda: load_classifier(path),
    lambda: export_model(path, out), lambda: TeacherCache(out, path, tokenizer),
    lambda: DistillationTrainer(tiny_model(), path, train_dataset=tiny_dataset(tokenizer), processing_class=tokenizer),
    lambda: compare_models({{"teacher": other, "student": path}}, tiny_dataset(tokenizer), text_columns=("text",)),
    lambda: main(["export", "--model_name_or_path", path, "--output_dir", out]),
    lambda: main(["cache", "--teacher_model_name_or_path", path, *data, "--teacher_cache_dir", out]),
    lambda: main(["compare", "--teacher_model_name_or_path", other, "--student_model_name_or_path", path, *data]),
]
for load in loads:
    try:
        load()
        print("LOADED")
    except (Exception, SystemExit) as error:
        print("REFUSED", type(error).__name__, error)
"""


@pytest.mark.parametrize("answers", ["y\n" * 40, None], ids=["y", "closed"])
def test_nothing_asks_on_the_terminal_and_no_answer_runs_code(folder, custom, tmp_path, answers):
    path, canary = custom
    support = str(Path(tiny_model.__code__.co_filename).parent)
    program = LOADS.format(path=str(path), other=str(folder / "teacher"), out=str(tmp_path / "out"), support=support)

    def run():
        sys.stdin = io.StringIO(answers or "")
        os.chdir(tmp_path)
        exec(program, {"__name__": "__main__"})

    done = run_forked(run)
    assert not canary.exists()
    assert "LOADED" not in done.stdout
    assert done.stdout.count("REFUSED") == 10, done.stdout + done.stderr
    assert "Do you wish to run the custom code" not in done.stdout + done.stderr


def test_an_export_runs_code_that_the_user_trusts(custom, tmp_path, capsys):
    path, canary = custom
    arguments = ["export", "--model_name_or_path", str(path), "--output_dir", str(tmp_path / "onnx")]
    with pytest.raises(SystemExit):
        main(arguments)
    assert "trust_remote_code" in capsys.readouterr().err
    assert not canary.exists()
    main([*arguments, "--trust_remote_code", "True"])
    assert (tmp_path / "onnx" / "onnx" / "model.onnx").is_file()
    assert canary.exists()


@pytest.mark.parametrize("side", ["teacher", "student"])
def test_teacher_and_student_are_trusted_separately(folder, custom, tmp_path, capsys, side):
    path, canary = custom
    other = {"teacher": "student", "student": "teacher"}[side]
    models = {f"{side}_model_name_or_path": path, f"{other}_model_name_or_path": folder / "teacher"}
    given = flags(folder, tmp_path / "out", student_num_hidden_layers=None, max_steps=1, **models)
    for refused in ([], [f"--{other}_trust_remote_code", "True"]):
        with pytest.raises(SystemExit) as stopped:
            main(["train", *given, *refused])
        assert stopped.value.code == 2
        assert "trust_remote_code" in capsys.readouterr().err
    assert not canary.exists()
    main(["train", *given, f"--{side}_trust_remote_code", "True"])
    record = json.loads((tmp_path / "out" / "distillation.json").read_text())
    assert (record[side]["has_remote_code"], record[other]["has_remote_code"]) == (True, False)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"teacher_trust_remote_code": True}, "cannot decide whether code is run"),
        ({"teacher_trust_remote_code=True": ""}, "is not a flag"),
        ({"use_cpu": "--teacher_trust_remote_code"}, "use_cpu"),
        ({"teacher_trust_remote_cod": True}, "teacher_trust_remote_cod"),
    ],
)
def test_a_recipe_cannot_trust_code(folder, tmp_path, capsys, recipe, message):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(SystemExit):
        main(["train", "--config", f"{tmp_path}/recipe.yaml", *flags(folder, tmp_path / "out", use_cpu=None)])
    assert message in capsys.readouterr().err


def test_a_recipe_is_plain_yaml(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(f"seed: !!python/object/apply:pathlib.Path.touch [{tmp_path}/canary]\n")
    with pytest.raises(SystemExit):
        main(["train", "--config", f"{tmp_path}/recipe.yaml"])
    assert "is not YAML" in capsys.readouterr().err
    assert not (tmp_path / "canary").exists()


# ---- Tokens ----

TRAIN = """
import sys
from hf_distill.cli import main
for arguments in {runs!r}:
    sys.argv = ["hf-distill", *arguments]
    try:
        main(arguments)
    except SystemExit as stopped:
        print("STATUS", stopped.code)
"""
# pragma: allowlist nextline secret
CANARIES = ["hf_FlagCanary0123456789abcdefghijklmn", "hf_RecipeCanary0123456789abcdefghijkl", "hf_TypoCanary01234567"]


@pytest.fixture(scope="module")
def traces(folder, tmp_path_factory):
    """The files and output of two runs with tokens and one with a typo: name -> bytes."""
    here = tmp_path_factory.mktemp("tokens")
    (here / "recipe.yaml").write_text(yaml.safe_dump({"hub_token": CANARIES[1], "logging_steps": 1}))
    settings = {
        "max_steps": 1,
        "report_to": "tensorboard",
        "hub_strategy": "end",
        "push_to_hub": True,
        "hub_model_id": "tester/student",
    }
    shared_flags = flags(folder, here / "out", **settings)
    runs = [
        ["train", *shared_flags, "--hub_token", CANARIES[0]],
        ["train", *shared_flags, "--config", str(here / "recipe.yaml"), "--overwrite_output_dir"],
        ["train", *shared_flags, "--hub_tokn", CANARIES[2]],
    ]
    with HubServer() as server:
        server.tokens.update(CANARIES)
        done = run_against(server, TRAIN.format(runs=runs), here)
        pushed = {f"pushed {name}": content for name, content in server.repos["tester/student"].files.items()}
    assert done.stdout.count("STATUS 2") == 1, done.stderr
    written = {str(path): path.read_bytes() for path in (here / "out").rglob("*") if path.is_file()}
    return {**pushed, **written, "stdout": done.stdout.encode(), "stderr": done.stderr.encode()}


def test_no_token_is_written_pushed_or_printed(traces):
    assert any(name.endswith("optimizer.pt") for name in traces)
    assert any("tfevents" in name for name in traces)
    assert "pushed README.md" in traces
    secrets = [*CANARIES, "hf_test_token_of_nobody"]
    assert not [name for name, content in traces.items() for secret in secrets if secret.encode() in content]


def test_messages_lose_tokens_and_keep_names(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "swordfish")
    message = without_secrets(f"{CANARIES[0]} and swordfish; hf_distill, hf_sentiment and hf_transfer stay")
    assert message == "[redacted] and [redacted]; hf_distill, hf_sentiment and hf_transfer stay"


# ---- Names ----


@pytest.mark.parametrize("name", ["../train", "/tmp/train", "a/b", "..", ""])
def test_the_name_of_a_split_cannot_lead_out_of_the_folder(tmp_path, name):
    rows = Dataset.from_dict({"text": ["a film"]})
    with pytest.raises(ValueError, match="cannot be the name of a file"):
        write_labelled({name: rows}, tmp_path / "labelled", {})
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("name", ["../../escaped", "a/../../b", "..", "a\\b", "x\x00y"])
def test_the_name_of_a_function_cannot_lead_out_of_the_cache(name):
    with pytest.raises(ValueError, match="letters, digits"):
        hf_distill.TeacherEnsemble([hf_distill.teachers.FunctionTeacher(len, name=name)])


HOSTILE = (
    "x'\"\n---\nlicense: mit\ntags: [pwned]\n---\n# <script>alert(1)</script> {{7*7}} !!python/object:os.system [a](b)"
)


def test_hostile_names_stay_values_in_the_yaml_of_a_card(saved):
    record = json.loads((saved / "distillation.json").read_text())
    plain = yaml.safe_load(str(model_card(record)).split("---\n")[1])
    record["dataset"] = {"id": HOSTILE, "config": HOSTILE, "eval_split": HOSTILE, "eval_rows": 1, "train_rows": 1}
    record["teacher"]["name_or_path"] = record["student"]["origin"] = HOSTILE
    record["metric_name"] = HOSTILE
    text = str(model_card(record))
    header = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    assert header["tags"] == plain["tags"]
    assert header.get("license") is None
