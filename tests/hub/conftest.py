"""A student's folder with a report and an export, and a local Hub."""

import json
import pickle
import shutil

import pytest
from hub_server import TOKEN as HUB_TOKEN
from hub_server import HubServer
from huggingface_hub import constants
from records import FLAT_EXPORT, RECORD, REPORT
from tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The files of training, comparing and exporting, and files that must not be published."""
    folder = tmp_path_factory.mktemp("made") / "out"
    tiny_model(seed=2).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    record = {**RECORD, "student": {**RECORD["student"], "origin": None}}
    (folder / "distillation.json").write_text(json.dumps(record))
    report = json.loads(json.dumps(REPORT))
    report["models"]["student"]["cost"]["num_parameters"] = RECORD["student"]["num_parameters"]
    for name, content in {
        "onnx-int8/export.json": json.dumps(FLAT_EXPORT),
        "onnx-int8/tokenizer.json": "{}",
        "onnx-int8/model.onnx": "graph",
        "report/report.json": json.dumps(report),
        "report/report.html": "<html>",
        "report/plots/a.png": "png",
        "teacher/model.safetensors": "teacher",
        "baseline/model.safetensors": "baseline",
        "checkpoint-5/model.safetensors": "old",
        "runs/events.out.tfevents": "log",
        "training_args.bin": "pickle",
        ".env": "secret",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "weights.pkl").write_bytes(pickle.dumps([1]))
    return folder


@pytest.fixture
def out(made, tmp_path):
    return shutil.copytree(made, tmp_path / "out")


@pytest.fixture
def server(monkeypatch):
    """A local Hub that this process talks to."""
    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", HUB_TOKEN)
        yield server
