"""`hf-distill push` against a local replacement of the Hub: one commit, which can be retried after any failure."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from hub_server import TOKEN as HUB_TOKEN
from hub_server import Repo, run_against
from huggingface_hub import constants
from pushing import REPO, failed_push, push
from records import TOKEN

from hf_distill.cli import main
from hf_distill.hub.upload import files_to_push

STUDENT = {
    "README.md",
    "config.json",
    "distillation.json",
    "hf_distill_files.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
OTHERS = {
    "export.json",
    "onnx/model_quantized.onnx",
    "report/plots/a.png",
    "report/report.html",
    "report/report.json",
}


def test_student_exports_report_record_and_card_go_in_one_private_commit(out, server, capsys):
    push(out)
    repo = server.repos[REPO]
    assert repo.files.keys() == STUDENT | OTHERS
    assert repo.commits == ["Student, exports, report, record and card"]
    assert repo.is_private
    card = repo.files["README.md"].decode()
    assert f'model="{REPO}"' in card
    assert "means of 3 runs" in card
    assert "| onnx/model_quantized.onnx |" in card
    printed = capsys.readouterr().out
    assert f"Pushed 11 files to {server.url}/{REPO} (private)." in printed
    assert "Not pushed: .env, baseline, checkpoint-5, runs, teacher, training_args.bin, weights.pkl." in printed


def test_a_push_says_what_the_report_says_unless_it_is_yes(out, server, capsys):
    path = out / "report" / "report.json"
    report = json.loads(path.read_text())
    push(out)
    assert "The report in this folder says" not in capsys.readouterr().out
    sentence = "No, the student should not replace the teacher: it loses 5.5 points. More follows."
    path.write_text(json.dumps({**report, "verdict": {**report["verdict"], "replace": False, "sentence": sentence}}))
    push(out)
    said = capsys.readouterr().out.splitlines()
    assert (
        "The report in this folder says: No, the student should not replace the teacher: it loses 5.5 points." in said
    )


def test_a_second_push_uploads_nothing_and_a_third_what_has_changed(out, server, capsys):
    push(out)
    server.calls.clear()
    push(out)
    assert "Nothing to push" in capsys.readouterr().out
    assert not [call for call in server.calls if "commit" in call or "PUT" in call]
    (out / "report" / "report.html").write_text("<html>new")
    push(out, "--commit_message", "A better report")
    assert server.repos[REPO].commits[1:] == ["A better report"]
    assert server.repos[REPO].files["report/report.html"] == b"<html>new"
    assert not [call for call in server.calls if call.startswith("PUT")]


def test_a_public_repository_is_created_only_on_request(out, server):
    push(out, "--public")
    assert not server.repos[REPO].is_private


@pytest.mark.parametrize("is_private", [True, False])
def test_a_repository_that_exists_stays_as_visible_as_it_was(out, server, capsys, is_private):
    server.repos[REPO] = Repo({"LICENSE": b"mine"}, is_private=is_private)
    push(out, *(["--public"] if is_private else []))
    assert server.repos[REPO].is_private == is_private
    assert server.repos[REPO].files["LICENSE"] == b"mine"
    assert not [call for call in server.calls if call.endswith("repos/create")]
    assert ("stays private" in capsys.readouterr().out) == is_private


def test_a_revision_is_a_branch_and_leaves_the_main_branch_unchanged(out, server):
    push(out, "--revision", "v2")
    assert server.repos[REPO].files == {}
    assert server.repos[REPO].branches["v2"].files.keys() >= STUDENT
    server.calls.clear()
    push(out, "--revision", "v2")
    assert not [call for call in server.calls if "/commit/" in call]


# ---- Failures ----


def test_a_push_continues_where_the_server_died_after_the_large_files(out, server, capsys):
    server.dies_at = "commit"
    message = failed_push(out, capsys, "--public")
    assert "The repository tester/student exists" in message
    assert "All files are published in one commit, or none." in message
    assert f"To continue, run: hf-distill push --folder {out} --hub_model_id tester/student --public" in message
    assert server.repos[REPO].files == {}
    sent = [call for call in server.calls if call.startswith("PUT")]
    assert len(sent) == 2  # the weights and their export

    server.dies_at, server.is_dead = None, False
    server.calls.clear()
    push(out, "--public")
    assert server.repos[REPO].files.keys() == STUDENT | OTHERS
    assert not [call for call in server.calls if call.startswith("PUT")]


def test_only_the_large_file_that_failed_is_uploaded_again(out, server, capsys):
    weights = (out / "model.safetensors").read_bytes()
    refused = hashlib.sha256(b"graph").hexdigest()
    server.fail_with = {refused: 403}
    failed_push(out, capsys)
    assert server.repos[REPO].files == {}
    server.fail_with.clear()
    server.calls.clear()
    push(out)
    assert [call for call in server.calls if call.startswith("PUT")] == [f"PUT /upload/{refused}"]
    assert server.repos[REPO].files["model.safetensors"] == weights


def test_a_server_error_on_the_commit_publishes_nothing_and_quotes_no_token(out, server, capsys):
    server.fail_with, server.fail_saying = {"commit": 503}, {"error": f"overloaded, {HUB_TOKEN}, {TOKEN}"}
    message = failed_push(out, capsys)
    assert "the Hub has a server error" in message
    assert "503" in message
    assert "overloaded, [redacted], [redacted]" in message
    assert server.repos[REPO].files == {}


def test_a_wrong_token_is_named_as_the_cause(out, server, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    message = failed_push(out, capsys)
    assert "does not accept this token" in message
    assert "Nothing was uploaded." in message
    assert "hf_wrong" not in message
    assert server.repos == {}


def test_without_a_token_the_hub_is_not_called(out, server, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(out / "no_token"))
    message = failed_push(out, capsys)
    assert "hf auth login" in message
    assert server.calls == []


def test_an_error_of_the_command_is_one_message_and_exit_status_2(out, server):
    script = f"from hf_distill.cli import main; main('push --folder out --hub_model_id {REPO}'.split())"
    server.fail_with = {"commit": 503}
    done = run_against(server, script, out.parent)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("hf-distill push: The push failed: the Hub has a server error")
    assert HUB_TOKEN not in done.stdout + done.stderr


# ---- Files that are refused or never published ----


@pytest.mark.parametrize("missing", ["distillation.json", "model.safetensors"])
def test_a_folder_without_a_student_is_refused(out, server, capsys, missing):
    (out / missing).unlink()
    assert f"has no student of hf_distill: there is no {missing}" in failed_push(out, capsys)
    assert server.calls == []


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not valid JSON"), ("{}", "is not an hf_distill record: it has no format")]
)
def test_a_damaged_record_is_refused(out, server, capsys, text, message):
    (out / "distillation.json").write_text(text)
    assert message in failed_push(out, capsys)


def test_a_repository_needs_the_name_of_its_owner(out, server, capsys):
    with pytest.raises(SystemExit):
        main(["push", "--folder", str(out), "--hub_model_id", "student"])
    assert "must be user/name, got 'student'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["report/plots/b.png", "vocab.txt"])
def test_a_link_that_leaves_the_folder_is_refused(out, server, capsys, name):
    secret = out.parent / f"secret{Path(name).suffix}"
    secret.write_text("private")
    (out / name).symlink_to(secret)
    assert "is a link that leads out of" in failed_push(out, capsys)
    assert server.repos == {}


def test_a_folder_that_is_a_link_to_another_place_is_refused(out, server, capsys):
    (out / "report").rename(out.parent / "elsewhere")
    (out / "report").symlink_to(out.parent / "elsewhere")
    assert "is a link that leads out of" in failed_push(out, capsys)


def test_a_link_inside_the_folder_is_followed_but_not_to_a_pickle(out):
    (out / "vocab.txt").symlink_to(out / "weights.pkl")
    (out / "merges.txt").symlink_to("config.json")
    files = files_to_push(out)
    assert "vocab.txt" not in files
    assert "merges.txt" in files


def test_a_token_in_the_recorded_command_is_removed(out, server):
    record = json.loads((out / "distillation.json").read_text())
    record["command"] = ["hf-distill", "train", "--hub_token", "plain-secret", f"--token={TOKEN}", "--x", TOKEN]
    (out / "distillation.json").write_text(json.dumps(record))
    push(out)
    published = b"".join(server.repos[REPO].files.values())
    assert not any(secret.encode() in published for secret in ("plain-secret", TOKEN, HUB_TOKEN))
    assert json.loads(server.repos[REPO].files["distillation.json"])["command"][3] == "[redacted]"


@pytest.mark.parametrize(("name", "token"), [("report/report.html", TOKEN), ("config.json", HUB_TOKEN)])
def test_a_token_in_another_file_stops_the_push(out, server, capsys, name, token):
    path = out / name
    path.write_text(path.read_text() + f" {token}")
    message = failed_push(out, capsys)
    assert f"{name} contains what looks like a Hub token, so nothing was pushed" in message
    assert token not in message
    assert server.repos == {}


def test_a_report_of_another_student_is_refused(out, server, capsys):
    report = json.loads((out / "report" / "report.json").read_text())
    report["models"]["student"]["cost"]["num_parameters"] += 1
    (out / "report" / "report.json").write_text(json.dumps(report))
    assert "is about a student with 45,000,001 parameters" in failed_push(out, capsys)


@pytest.mark.parametrize("name", ["report", "onnx-int8"])
def test_a_report_or_export_older_than_the_student_is_refused(out, server, capsys, name):
    now = (out / "model.safetensors").stat().st_mtime
    for path in (out / name).rglob("*"):
        os.utime(path, (now - 120, now - 120))
    message = failed_push(out, capsys)
    assert f"{out / name} is older than the student's weights" in message
    assert server.calls == []


def test_the_teachers_license_comes_from_the_hub(out, server):
    server.repos["user/teacher"] = Repo({"README.md": b"---\nlicense: apache-2.0\n---\n"}, sha="0a1b2c")
    push(out)
    card = server.repos[REPO].files["README.md"].decode()
    assert "| distilled from " in card
    assert "apache-2.0 |" in card
