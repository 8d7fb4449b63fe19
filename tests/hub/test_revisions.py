"""Models of a revision on the Hub: the branch that was named is loaded, and not the main branch."""

import json

import pytest
import torch
from docs_folder import save
from hub_server import HubServer, Repo, run_against
from peft import LoraConfig, get_peft_model
from tiny import LABEL_NAMES, TINY, tiny_model, tiny_rows
from transformers import BertConfig, BertForMaskedLM

from hf_distill.pipeline import ModelReference
from hf_distill.teachers import load_teacher
from hf_distill.utils.hub_names import split_revision

COMMIT = "b" * 40
TRAIN = (
    "train --teacher_model_name_or_path tester/teacher --teacher_revision v1"
    " --student_model_name_or_path tester/learner --student_revision v1"
    " --augment 1 --augment_masked_lm tester/masked@v1 --train_file rows.csv --validation_file other.csv"
    " --allow_weak_teacher --max_steps 1 --use_cpu --output_dir out"
)
TRAIN_ROWS = (
    "train --teacher_model_name_or_path tester/teacher --student_num_hidden_layers 1 --dataset_name tester/rows@v1"
    " --validation_split_name test --transfer_dataset_name tester/rows@v1"
    " --allow_weak_teacher --max_steps 1 --use_cpu --output_dir out"
)
LOAD = """
import json
from datasets import Dataset
from hf_distill import compare_models, create_student
from hf_distill.export.loading import load_classifier
models = {"teacher": "tester/teacher@v1", "old": "tester/learner@v1", "new": "tester/learner"}
rows = Dataset.from_csv("other.csv")
report = compare_models(models, rows, latency_rounds=0, num_resamples=100).to_dict()["models"]
found = {name: [model["origin"], model["cost"]["num_parameters"]] for name, model in report.items()}
loaded = load_classifier("tester/learner@v1"), create_student("tester/learner@v1", layers=[0, 1])
loaded = *loaded, create_student("tester/learner@v1", layers=[0], architecture="distilbert")
print(json.dumps([found, [model.config._commit_hash for model in loaded]]))
"""


def masked_model(num_hidden_layers, seed):
    torch.manual_seed(seed)
    return BertForMaskedLM(BertConfig(**TINY, num_hidden_layers=num_hidden_layers))


MAKERS = {"teacher": tiny_model, "learner": tiny_model, "masked": masked_model}


@pytest.fixture
def server(tmp_path, tokenizer):
    """A Hub with models of 3 layers on the main branch and of 2 layers on the branch v1, and files of rows."""
    for seed, name in enumerate(("rows.csv", "other.csv")):
        rows = [f"{row['text']},{LABEL_NAMES[row['label']]}" for row in tiny_rows(24, seed)]
        (tmp_path / name).write_text("\n".join(["text,label", *rows]) + "\n")
    with HubServer() as server:
        for place, (name, make) in enumerate(MAKERS.items()):
            branches = {}
            for branch, num_hidden_layers, sha in (("main", 3, "a" * 40), ("v1", 2, COMMIT)):
                folder = tmp_path / "models" / name / branch
                save(make(num_hidden_layers, seed=place), folder, tokenizer)
                branches[branch] = Repo({path.name: path.read_bytes() for path in folder.iterdir()}, sha=sha)
            server.repos[f"tester/{name}"] = branches.pop("main")
            server.repos[f"tester/{name}"].branches = branches
        yield server


def run_command(server, command, folder):
    done = run_against(server, f"from hf_distill.cli import main\nmain({command.split()!r})\n", folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_teacher_student_and_masked_language_model_are_those_of_the_revision(server, tmp_path):
    printed = run_command(server, TRAIN, tmp_path)
    record = json.loads((tmp_path / "out" / "distillation.json").read_text())
    masked = record["dataset"]["transfer"]["augmentation"]["masked_lm"]
    models = {"teacher": record["teacher"], "learner": record["student"], "masked": masked}
    found = {name: (model["num_hidden_layers"], model["revision"]) for name, model in models.items()}
    assert found == dict.fromkeys(MAKERS, (2, COMMIT))
    assert COMMIT not in (tmp_path / "out" / "config.json").read_text()
    assert COMMIT in (tmp_path / "out" / "README.md").read_text()
    assert "compare --teacher_model_name_or_path tester/teacher@v1 --student_model_name_or_path out" in printed


def test_a_report_an_export_and_a_student_are_of_the_revision(server, tmp_path):
    loaded = run_against(server, LOAD, tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    models, commits = json.loads(loaded.stdout.splitlines()[-1])
    assert models["old"][1] == models["teacher"][1] < models["new"][1]
    assert (models["old"][0], models["new"][0]) == ("tester/learner@v1", "tester/learner")
    assert commits == [COMMIT] * 3


LOAD_ADAPTERS = """
import json
from hf_distill.record import describe_model
from hf_distill.teachers import load_teacher
names = ["tester/adapter", "tester/adapter@v1", "tester/adapter@pinned"]
models = [load_teacher(name, allow_random_head=False) for name in names]
print(json.dumps([
    [describe_model(m)[key] for key in ("name_or_path", "revision", "num_hidden_layers")]
    + [m.config._commit_hash, round(float(next(p for n, p in m.named_parameters() if "lora_B" in n)[0, 0]))]
    for m in models
]))
"""


def adapter_files(num_hidden_layers, value, revision, folder, tokenizer):
    config = LoraConfig(task_type="SEQ_CLS", target_modules=["query"], modules_to_save=["classifier"])
    model = get_peft_model(tiny_model(num_hidden_layers), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(weight, value)
    save(model, folder, tokenizer)
    path = folder / "adapter_config.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps({**saved, "base_model_name_or_path": "tester/learner", "revision": revision}))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_adapter_and_its_base_have_revisions_of_their_own(server, tmp_path, tokenizer):
    repos = [
        Repo(adapter_files(layers, place, revision, tmp_path / f"adapter_{place}", tokenizer), sha=str(place) * 40)
        for place, (layers, revision) in enumerate([(3, None), (3, None), (2, "v1")], start=1)
    ]
    server.repos["tester/adapter"] = repos[0]
    repos[0].branches |= {"v1": repos[1], "pinned": repos[2]}
    loaded = run_against(server, LOAD_ADAPTERS, tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    assert "has an adapter and the config of a model" not in loaded.stderr
    repos[1].files["config.json"] = server.repos["tester/learner"].files["config.json"]
    (tmp_path / "again").mkdir()
    again = run_against(server, LOAD_ADAPTERS, tmp_path / "again")
    assert "tester/adapter has an adapter and the config of a model. The adapter is loaded on tester/learner" in (
        again.stderr
    )
    assert json.loads(loaded.stdout.splitlines()[-1]) == [
        ["tester/adapter", "1" * 40, 3, "a" * 40, 1],
        ["tester/adapter", "2" * 40, 3, "a" * 40, 2],
        ["tester/adapter", "3" * 40, 2, COMMIT, 3],
    ]


def test_labelled_and_unlabelled_rows_are_those_of_the_revision(server, tmp_path):
    repo = server.repos["datasets/tester/rows"] = Repo({"train.csv": b"text,label\na film,negative\n"}, sha="c" * 40)
    files = {
        f"{split}.csv": (tmp_path / name).read_bytes()
        for split, name in (("train", "rows.csv"), ("test", "other.csv"))
    }
    repo.branches["v1"] = Repo(files, sha="d" * 40)
    printed = run_command(server, TRAIN_ROWS, tmp_path)
    dataset = json.loads((tmp_path / "out" / "distillation.json").read_text())["dataset"]
    assert (dataset["id"], dataset["revision"], dataset["train_rows"]) == ("tester/rows", "d" * 40, 24)
    assert dataset["transfer"]["rows"] == 24
    assert "--dataset_name tester/rows@v1" in printed


def test_a_revision_that_cannot_be_meant_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    for name, message in (("model@v1", "is a folder on this machine"), ("tester/teacher@", "the revision is missing")):
        with pytest.raises(ValueError, match=message):
            split_revision(name)
    for path in ("some/runs/lr@1e-4", "./model@v1", "~/model@v1", "C:\\model@v1"):  # no id has such a name
        assert split_revision(path) == (path, None)
    assert split_revision("tester/teacher@v1", "v1") == ("tester/teacher", "v1")
    with pytest.raises(ValueError, match="names the revision 'v1', and 'v2' was given as well"):
        ModelReference("tester/teacher@v1", "v2")


def test_a_folder_with_an_at_sign_is_a_folder(tmp_path, tokenizer):
    save(tiny_model(2), tmp_path / "model@v1", tokenizer)
    assert load_teacher(tmp_path / "model@v1").config.num_hidden_layers == 2
