"""A push over an older repository: what it replaces goes, what the user wrote stays, nobody else's commit is lost."""

import json
import shutil

import pytest
import torch
from hub_server import Repo, run_against
from pushing import REPO, failed_push, push
from tiny import tiny_model

from hf_distill.hub.publish import publish

LOAD = """
import json
import torch
from transformers import AutoModelForSequenceClassification, pipeline
model = AutoModelForSequenceClassification.from_pretrained("tester/student")
with torch.no_grad():
    print(json.dumps(model(torch.tensor([[2, 5, 6, 3]])).logits.tolist()))
print(pipeline("text-classification", model="tester/student")(["a great film"])[0]["label"])
"""


def edit_on_hub(server, old, new, name="README.md"):
    repo = server.repos[REPO]
    text = repo.files[name].decode()
    assert old in text
    repo.files[name], repo.sha = text.replace(old, new, 1).encode(), "e" * 40


def shard(out, seed):
    """Save another student in shards in place of the student in the folder, without the report and the export."""
    for name in ("model.safetensors", "report", "onnx-int8"):
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    model = tiny_model(seed=seed)
    model.save_pretrained(out, max_shard_size="10KB")
    assert len(list(out.glob("model-*.safetensors"))) > 1
    return model


def local_files(out, *folders):
    paths = [*out.glob("*"), *(path for folder in folders for path in (out / folder).rglob("*"))]
    published = {".json", ".md", ".safetensors", ".html", ".png", ".onnx"}
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in paths if p.is_file() and p.suffix in published}


def test_a_push_over_an_older_repository_gives_back_the_local_model(out, server, capsys):
    server.repos[REPO] = Repo(
        {
            "model.fp16.safetensors": b"old",
            "pytorch_model.bin": b"old",
            "pytorch_model.bin.index.json": b"{}",
            "tf_model.h5": b"old",
            "flax_model.msgpack": b"old",
            "adapter_config.json": b"{}",
            "onnx/model_quantized.onnx": b"old",
            "onnx/model.onnx_data": b"old",
            "openvino/openvino_model.xml": b"old",
            "added_tokens.json": b'{"[NEW]": 99}',
            "vocab.txt": b"old",
            "LICENSE": b"mine",
            "handler.py": b"mine",
            "onnx/README.md": b"mine",
            "model_notes.bin": b"mine",
        }
    )
    push(out)
    repo = server.repos[REPO]
    assert {name for name, content in repo.files.items() if content == b"mine"} == {
        "LICENSE", "handler.py", "onnx/README.md", "model_notes.bin",
    }  # fmt: skip
    assert b"old" not in repo.files.values()
    assert not repo.files.keys() & {"pytorch_model.bin.index.json", "adapter_config.json", "added_tokens.json"}

    model = shard(out, seed=5)
    capsys.readouterr()
    push(out)
    assert len(repo.commits) == 2
    mine = {"LICENSE", "handler.py", "onnx/README.md", "model_notes.bin", "hf_distill_files.json"}
    assert {name: content for name, content in repo.files.items() if name not in mine} == local_files(out)
    removed = (
        "export.json, model.safetensors, onnx/model_quantized.onnx, report/plots/a.png, report/report.html, "
        "report/report.json"
    )
    assert f"Removed from the repository, because they belong to an earlier student: {removed}." in (
        capsys.readouterr().out
    )
    loaded = run_against(server, LOAD, out.parent)
    assert loaded.returncode == 0, loaded.stderr
    with torch.no_grad():
        logits = model(torch.tensor([[2, 5, 6, 3]])).logits
    torch.testing.assert_close(torch.tensor(json.loads(loaded.stdout.splitlines()[0])), logits)


def test_an_older_push_without_a_manifest_loses_its_report_and_exports(out, server, capsys):
    push(out)
    del server.repos[REPO].files["hf_distill_files.json"]
    server.repos[REPO].files |= {"onnx-int8/export.json": b"{}", "onnx-int8/model.onnx": b"old"}  # as it was placed
    server.repos[REPO].files["docs/notes.md"] = b"mine"
    shard(out, seed=5)
    push(out)
    files = server.repos[REPO].files
    assert not [name for name in files if name.startswith(("report/", "onnx-int8/"))]
    assert "model.safetensors" not in files
    assert files["docs/notes.md"] == b"mine"


def test_conversions_by_the_user_stay_as_long_as_the_weights_do(out, server):
    push(out)
    conversions = {"pytorch_model.bin": b"mine", "onnx/model_fp16.onnx": b"mine"}
    server.repos[REPO].files |= conversions
    (out / "report" / "report.html").write_text("<html>new")
    push(out)
    assert server.repos[REPO].files.items() >= conversions.items()
    tiny_model(seed=6).save_pretrained(out)
    shutil.rmtree(out / "report")
    shutil.rmtree(out / "onnx-int8")
    push(out)
    assert not server.repos[REPO].files.keys() & conversions.keys()


def test_what_the_folder_lost_is_removed_without_a_change_of_the_weights(out, server, capsys):
    push(out)
    shutil.rmtree(out / "report")
    server.repos[REPO].files["report/mine.txt"] = b"mine"
    push(out)
    assert [name for name in server.repos[REPO].files if name.startswith("report/")] == ["report/mine.txt"]
    assert server.repos[REPO].commits[1:] == ["Student, exports, report, record and card"]
    assert "report/plots/a.png, report/report.html, report/report.json" in capsys.readouterr().out


def test_two_sets_of_weights_in_the_folder_are_refused(out, server, capsys):
    tiny_model(seed=5).save_pretrained(out / "sharded", max_shard_size="10KB")
    for path in (out / "sharded").glob("model*"):
        path.rename(out / path.name)
    message = failed_push(out, capsys)
    assert "both model.safetensors and model.safetensors.index.json" in message
    assert server.calls == []


def test_a_shard_that_is_missing_or_left_over_is_refused(out, server, capsys):
    shard(out, seed=5)
    first, *_ = sorted(out.glob("model-*.safetensors"))
    shutil.copy(first, out / "model-00009-of-00009.safetensors")
    assert "model-00009-of-00009.safetensors, which model.safetensors.index.json does not name" in (
        failed_push(out, capsys)
    )
    (out / "model-00009-of-00009.safetensors").unlink()
    first.unlink()
    assert f"has no {first.name}, which model.safetensors.index.json names" in failed_push(out, capsys)


# ---- Somebody else's commits ----


def test_a_commit_of_somebody_else_during_the_push_is_not_overwritten(out, server, capsys):
    push(out)
    repo = server.repos[REPO]
    (out / "report" / "report.html").write_text("<html>new")
    server.before_commit = lambda: edit_on_hub(server, "## Limits\n", "## Limits\n\n- Theirs.\n")
    message = failed_push(out, capsys)
    assert "somebody else changed the repository while this push was prepared" in message
    assert "To continue, run: hf-distill push" in message
    assert repo.files["report/report.html"] == b"<html>"
    assert len(repo.commits) == 1
    push(out)
    assert repo.files["report/report.html"] == b"<html>new"
    assert b"- Theirs." in repo.files["README.md"]


def test_a_card_that_was_edited_on_the_hub_keeps_the_edits_and_brings_them_home(out, server, capsys):
    push(out)
    edit_on_hub(server, "## Limits\n", "## Limits\n\n- Not for medical texts.\n")
    edit_on_hub(server, "---\n", "---\nlanguage: no\n")
    edit_on_hub(server, "<!-- hf_distill:begin usage", "Ours since May.\n\n<!-- hf_distill:begin usage")
    record = json.loads((out / "distillation.json").read_text())
    record["training"]["learning_rate"] = 0.125
    (out / "distillation.json").write_text(json.dumps(record))
    capsys.readouterr()
    push(out)
    card = server.repos[REPO].files["README.md"].decode()
    assert all(part in card for part in ("- Not for medical texts.", "\nlanguage: no\n", "Ours since May.", "0.125"))
    assert (out / "README.md").read_text() == card
    assert "README.md keeps the edited sections: limits." in capsys.readouterr().out
    push(out)
    assert server.repos[REPO].files["README.md"].decode() == card


def test_a_card_that_was_edited_in_the_folder_is_published_and_can_be_edited_again(out, server):
    push(out)
    for text in ("First.", "Second."):
        path = out / "README.md"
        path.write_text(path.read_text().replace("## Limits\n", f"## Limits\n\n{text}\n", 1))
        push(out)
        assert text in server.repos[REPO].files["README.md"].decode()


def test_a_card_that_was_edited_in_both_places_stops_the_push(out, server, capsys):
    push(out)
    edit_on_hub(server, "## Limits\n", "## Limits\n\n- Theirs.\n")
    path = out / "README.md"
    path.write_text(path.read_text().replace("## Limits\n", "## Limits\n\n- Mine.\n"))
    message = failed_push(out, capsys)
    assert "was edited in the folder and on the Hub. Nothing was pushed." in message
    assert "- Mine." in path.read_text()
    path.unlink()
    push(out)
    assert b"- Theirs." in server.repos[REPO].files["README.md"]


def test_a_readme_by_hand_on_the_hub_stays_and_the_card_is_a_second_file(out, server, capsys):
    mine = b"---\r\nlicense: mit\r\n---\r\n# By hand\r\n"
    server.repos[REPO] = Repo({"README.md": mine})
    push(out)
    files = server.repos[REPO].files
    assert files["README.md"] == mine
    assert b"## Limits" in files["MODEL_CARD.md"]
    assert "README.md stays as it is, because it was not written by hf_distill" in capsys.readouterr().out
    push(out, "--language", "en,de", "--tags", "films")
    assert files["README.md"] == (
        b"---\r\nlicense: mit\r\nlanguage:\r\n- en\r\n- de\r\ntags:\r\n- films\r\n---\r\n# By hand\r\n"
    )
    del files["README.md"]
    (out / "README.md").unlink()
    push(out)
    assert b"## Limits" in files["README.md"]
    assert "MODEL_CARD.md" not in files


def test_a_repository_with_only_a_license_gets_the_card_and_keeps_the_license(out, server):
    server.repos[REPO] = Repo({"README.md": b"---\nlicense: openrail\n---\n", ".gitattributes": b"lfs"})
    push(out)
    files = server.repos[REPO].files
    assert files["README.md"].startswith(b"---\nlicense: openrail\n")
    assert b"## Limits" in files["README.md"]
    assert "MODEL_CARD.md" not in files
    assert files[".gitattributes"] == b"lfs"


@pytest.mark.parametrize("where", ["folder", "hub"])
def test_a_card_with_broken_metadata_stops_the_push_with_its_line(out, server, capsys, where):
    push(out)
    if where == "hub":
        edit_on_hub(server, "library_name: transformers", "library_name: [x\nlanguage: y")
    else:
        path = out / "README.md"
        path.write_text(path.read_text().replace("library_name: transformers", "library_name: [x\nlanguage: y"))
    message = failed_push(out, capsys)
    assert "README.md" in message
    assert "not valid YAML in line" in message
    assert len(server.repos[REPO].commits) == 1


def test_a_damaged_manifest_is_an_error_that_says_what_to_do(out, server, capsys):
    push(out)
    server.repos[REPO].files["hf_distill_files.json"] = b"{"
    assert "hf_distill_files.json in the repository is damaged" in failed_push(out, capsys)


# ---- Branches, pull requests, permissions ----


def test_a_pull_request_leaves_the_branch_unchanged_and_removes_what_it_replaces(out, server, capsys):
    push(out)
    shard(out, seed=5)
    before = dict(server.repos[REPO].files)
    push(out, "--create_pr")
    repo = server.repos[REPO]
    assert repo.files == before
    assert "model.safetensors" not in repo.branches["refs/pr/1"].files
    assert f"Opened the pull request {server.url}/{REPO}/discussions/1" in capsys.readouterr().out


def test_a_pull_request_that_would_change_nothing_is_not_opened(out, server, capsys):
    push(out)
    push(out, "--create_pr")
    assert "Nothing to push" in capsys.readouterr().out
    assert server.repos[REPO].branches == {}


def test_a_pull_request_needs_a_repository(out, server, capsys):
    message = failed_push(out, capsys, "--create_pr")
    assert "there is no repository tester/student that this token can see" in message
    assert server.repos == {}


def test_a_new_branch_starts_from_the_main_branch_and_loses_its_old_weights(out, server):
    push(out)
    shard(out, seed=5)
    push(out, "--revision", "v2")
    repo = server.repos[REPO]
    assert "model.safetensors" in repo.files
    assert "model.safetensors" not in repo.branches["v2"].files
    edit = repo.branches["v2"].files["README.md"].replace(b"## Limits\n", b"## Limits\n\n- Branch.\n")
    repo.branches["v2"].files["README.md"] = edit
    push(out, "--revision", "v2")
    assert b"- Branch." in repo.branches["v2"].files["README.md"]
    assert b"- Branch." not in repo.files["README.md"]


def test_a_gated_repository_without_access_is_an_error_of_the_token(out, server, capsys):
    server.repos[REPO] = Repo({"README.md": b"# By hand"}, is_gated=True)
    message = failed_push(out, capsys)
    assert "the Hub does not accept this token for this repository" in message
    assert server.repos[REPO].commits == []


def test_a_student_that_is_pushed_under_another_name_has_the_new_name_in_its_card(out, server):
    push(out)
    publish(out, "tester/renamed")
    card = server.repos["tester/renamed"].files["README.md"].decode()
    assert 'model="tester/renamed"' in card
    assert REPO not in card


def test_license_language_and_tags_are_in_the_metadata_and_in_the_command_to_continue(out, server, capsys):
    server.fail_with = {"commit": 503}
    message = failed_push(out, capsys, "--license", "mit", "--language", "en,de", "--tags", "films, reviews")
    assert message.rstrip().endswith("--license mit --language en,de --tags films,reviews")
    server.fail_with = {}
    push(out)  # they are in the folder now
    head = server.repos[REPO].files["README.md"].decode().split("---\n")[1]
    assert "\nlicense: mit\n" in "\n" + head
    assert "language:\n- en\n- de\n" in head
    assert "- films\n- reviews\n" in head
