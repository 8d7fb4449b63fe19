"""The local replacement of the Hub works with the real client."""

import json
import textwrap

import pytest
import torch
from hub_server import TOKEN, HubServer, run_against
from tiny import tiny_model

UPLOAD = """
from huggingface_hub import create_repo, upload_folder
create_repo("tester/tiny", exist_ok=True)
create_repo("tester/tiny", exist_ok=True)
upload_folder(repo_id="tester/tiny", folder_path="out", commit_message="a student")
"""
LOAD = """
import json, torch
from transformers import AutoModelForSequenceClassification, pipeline
model = AutoModelForSequenceClassification.from_pretrained("tester/tiny")
classify = pipeline("text-classification", model="tester/tiny", top_k=None)
with torch.no_grad():
    logits = model(torch.tensor([[2, 5, 6, 3]])).logits
print(json.dumps({"logits": logits.tolist(), "scores": classify(["a film"])[0]}))
"""


@pytest.fixture
def server():
    with HubServer() as server:
        yield server


@pytest.fixture
def model(tmp_path, tokenizer):
    model = tiny_model(seed=3)
    model.save_pretrained(tmp_path / "out")
    tokenizer.save_pretrained(tmp_path / "out")
    return model


def test_a_pushed_classifier_loads_with_the_same_logits(server, model, tokenizer, tmp_path):
    pushed = run_against(server, UPLOAD, tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    assert server.repos["tester/tiny"].commits == ["a student"]
    assert sum(call.startswith("PUT /upload/") for call in server.calls) == 1
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert server.repos["tester/tiny"].files["model.safetensors"] == weights

    loaded = run_against(server, LOAD, tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    answer = json.loads(loaded.stdout.splitlines()[-1])
    inputs = tokenizer("a film", return_tensors="pt")
    assert inputs["input_ids"].tolist() == [[2, 5, 7, 3]]
    with torch.no_grad():
        logits = model(torch.tensor([[2, 5, 6, 3]])).logits
        probabilities = model(**inputs).logits.softmax(dim=-1)[0]
    torch.testing.assert_close(torch.tensor(answer["logits"]), logits)
    for score in answer["scores"]:
        expected = probabilities[model.config.label2id[score["label"]]].item()
        assert score["score"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("step", "status"), [("commit", 503), ("upload", 403)])
def test_a_failing_push_raises_in_the_client_and_leaves_no_commit(server, model, tmp_path, step, status):
    server.fail_with = {step: status}
    pushed = run_against(server, UPLOAD, tmp_path)
    assert pushed.returncode == 1
    assert str(status) in pushed.stderr
    assert server.repos["tester/tiny"].files == {}
    assert TOKEN not in pushed.stdout + pushed.stderr


def test_the_files_of_a_repository_can_be_listed(server, model, tmp_path):
    listed = run_against(
        server,
        textwrap.dedent("""
            import json
            from huggingface_hub import HfApi
            from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
            api = HfApi()
            api.create_repo("tester/tiny")
            api.upload_folder(repo_id="tester/tiny", folder_path="out")
            for error, call in [
                (RepositoryNotFoundError, lambda: api.model_info("tester/nothing")),
                (EntryNotFoundError, lambda: api.hf_hub_download("tester/tiny", "nothing.txt")),
            ]:
                try:
                    call()
                except error:
                    continue
                raise AssertionError(error)
            (weights,) = api.get_paths_info("tester/tiny", "model.safetensors")
            print(json.dumps([api.whoami()["name"], api.list_repo_files("tester/tiny"), weights.lfs.size]))
        """),
        tmp_path,
    )
    assert listed.returncode == 0, listed.stderr
    name, files, size = json.loads(listed.stdout)
    assert name == "tester"
    assert sorted(files) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert size == (tmp_path / "out" / "model.safetensors").stat().st_size
