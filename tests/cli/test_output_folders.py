"""No command overwrites a model, a record or a file that it did not write, and it says so before it reads anything."""

import os
import shutil
from pathlib import Path

import pytest
from command_line import flags

from hf_distill.cli import main
from hf_distill.cli.early_checks import check_flags
from hf_distill.training.earlier_run import remove_earlier_run


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A teacher, an initial student and a finished run, in the working folder, which is also the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "teacher", "config.json", "model.safetensors")
    write(tmp_path / "initial", "config.json", "model.safetensors")
    write(tmp_path / "run", "distillation.json", "model.safetensors", "teacher/config.json", "checkpoint-3/run.json")
    write(tmp_path, "rows.csv")
    (tmp_path / "link").symlink_to("teacher")
    return tmp_path


def check_train(*words):
    check_flags("train", ["--student_num_hidden_layers", "2", "--train_file", "rows.csv", *words])


TEACHER = ["--teacher_model_name_or_path", "teacher"]


@pytest.mark.parametrize(
    "words",
    [
        [*TEACHER, "--output_dir", "teacher"],
        [*TEACHER, "--output_dir", "teacher/"],
        [*TEACHER, "--output_dir", "./initial/../teacher"],
        [*TEACHER, "--output_dir", "~/teacher"],
        [*TEACHER, "--output_dir", "link"],
        ["--teacher_model_name_or_path", "link", "--output_dir", "teacher"],
        [*TEACHER, "--output_dir", "teacher", "--overwrite_output_dir"],
        [*TEACHER, "--output_dir", "teacher", "--resume_from_checkpoint", "True"],
        ["--teacher_model_name_or_path", "run/teacher", "--output_dir", "run", "--fine_tune_teacher"],
        ["--teacher_model_name_or_path", "run/checkpoint-3", "--output_dir", "run", "--overwrite_output_dir"],
    ],
    ids=" ".join,
)
def test_a_folder_that_is_read_is_never_written(home, words):
    with pytest.raises(ValueError, match="so it would be overwritten. Choose another --output_dir"):
        check_train(*words)


def test_the_folder_of_the_initial_student_is_never_written(home):
    words = [*TEACHER, "--student_model_name_or_path", "initial", "--train_file", "rows.csv"]
    with pytest.raises(ValueError, match="--student_model_name_or_path initial is in a folder that"):
        check_flags("train", [*words, "--output_dir", str(home / "initial")])


def test_the_folder_of_a_dataset_is_never_written(home):
    write(home / "rows", "train.parquet")
    with pytest.raises(ValueError, match="--dataset_name rows is in a folder that"):
        check_flags("train", [*TEACHER, "--student_layers", "0", "--dataset_name", "rows", "--output_dir", "rows"])


def test_a_folder_beside_or_inside_the_teacher_is_allowed(home):
    check_train(*TEACHER, "--output_dir", "teacher/student")
    check_train(*TEACHER, "--output_dir", "teacher_2")
    # The teacher of an earlier run is only read.
    check_train("--teacher_model_name_or_path", "run/teacher", "--output_dir", "run", "--overwrite_output_dir")


@pytest.mark.parametrize(
    "words",
    [
        [], ["--resume_from_checkpoint", "False"], ["--overwrite_output_dir", "False"],
        ["--resume_from_checkpoint", "other/checkpoint-1"],
    ],
    ids=str,
)  # fmt: skip
def test_a_finished_run_is_not_overwritten(home, words):
    with pytest.raises(ValueError, match="run has a finished run .distillation.json.. Choose another --output_dir"):
        check_train(*TEACHER, "--output_dir", "run", *words)


@pytest.mark.parametrize(
    "words",
    [
        ["--resume_from_checkpoint", "true"],
        ["--resume_from_checkpoint", "run/checkpoint-3"],
        ["--overwrite_output_dir"],
    ],
    ids=str,
)
def test_a_finished_run_is_resumed_or_replaced_if_a_flag_says_so(home, words):
    check_train(*TEACHER, "--output_dir", "run", *words)


def test_a_run_that_ended_after_its_teacher_is_repeated_without_a_flag(home):
    write(home / "stopped", "teacher/distillation.json", "teacher/model.safetensors")
    check_train(*TEACHER, "--output_dir", "stopped", "--fine_tune_teacher")
    write(home / "other", "teacher/model.safetensors", "baseline/model.safetensors")
    check_train(*TEACHER, "--output_dir", "other")
    for flag, name in (("--fine_tune_teacher", "teacher"), ("--baseline", "baseline")):
        with pytest.raises(ValueError, match=f"other/{name} has weights .model.safetensors. and no distillation.json"):
            check_train(*TEACHER, "--output_dir", "other", flag)


def test_to_resume_and_to_start_anew_exclude_each_other(home):
    with pytest.raises(ValueError, match="Pass one of them"):
        check_train(*TEACHER, "--output_dir", "run", "--overwrite_output_dir", "--resume_from_checkpoint", "True")


@pytest.mark.parametrize("more", [[], ["--overwrite_output_dir"]], ids=str)
def test_weights_of_another_program_are_never_overwritten(home, more):
    with pytest.raises(ValueError, match="initial has weights .model.safetensors. and no distillation.json"):
        check_train(*TEACHER, "--output_dir", "initial", *more)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("rows.csv", "rows.csv is a file. Name a folder."),
        ("rows.csv/student", "rows.csv is a file. Name a folder."),
        ("dangling", "dangling is a link to a folder that does not exist."),
        ("locked", "locked cannot be written."),
        ("locked/student", "locked cannot be written."),
    ],
)
@pytest.mark.parametrize("command", ["train", "search", "cache", "compare", "export"])
def test_an_output_folder_that_cannot_be_one_is_named_at_once(home, monkeypatch, command, path, message):
    (home / "dangling").symlink_to("nowhere")
    write(home / "locked", ".keep")
    can_access = os.access  # root can write everywhere, so the answer of the system is replaced
    monkeypatch.setattr(os, "access", lambda name, mode: Path(name).name != "locked" and can_access(name, mode))
    words = {
        "train": [*TEACHER, "--student_num_hidden_layers", "2", "--train_file", "rows.csv"],
        "search": [*TEACHER, "--train_file", "rows.csv", "--require", "accuracy > 0"],
        "cache": [*TEACHER, "--train_file", "rows.csv"],
        "compare": [*TEACHER, "--student_model_name_or_path", "initial"],
        "export": ["--model_name_or_path", "initial"],
    }
    with pytest.raises(ValueError, match=message):
        check_flags(command, [*words[command], "--output_dir", path])


@pytest.mark.parametrize("command", ["train", "search"])
def test_a_training_needs_an_output_folder(home, command):
    words = ["--student_num_hidden_layers", "2"] if command == "train" else ["--require", "accuracy > 0"]
    with pytest.raises(ValueError, match="No output folder given. Pass --output_dir."):
        check_flags(command, [*TEACHER, "--train_file", "rows.csv", *words])


def test_search_and_cache_do_not_write_into_what_they_read(home):
    search = [*TEACHER, "--train_file", "rows.csv", "--require", "accuracy > 0", "--output_dir", "link/"]
    with pytest.raises(ValueError, match="so it would be overwritten"):
        check_flags("search", search)
    write(home / "texts", "train.parquet", "teacher.json")
    for folder in ("teacher", "texts"):
        with pytest.raises(ValueError, match="so it would be overwritten"):
            check_flags("cache", [*TEACHER, "--dataset_name", "texts", "--output_dir", folder])


def test_cache_and_export_do_not_write_into_the_folder_of_another_program(home):
    write(home / "project", "README.md")
    with pytest.raises(ValueError, match="project has README.md and no teacher.json"):
        check_flags("cache", [*TEACHER, "--train_file", "rows.csv", "--output_dir", "project"])
    with pytest.raises(ValueError, match="project has README.md and no export.json"):
        check_flags("export", ["--model_name_or_path", "initial", "--output_dir", "project"])
    write(home / "project", "export.json", "teacher.json")
    check_flags("cache", [*TEACHER, "--train_file", "rows.csv", "--output_dir", "project"])
    check_flags("export", ["--model_name_or_path", "initial", "--output_dir", "project"])


def test_only_what_a_run_wrote_is_removed(tmp_path):
    ours = ["config.json", "distillation.json", "model-00001-of-00002.safetensors", "tokenizer.json", "vocab.txt"]
    others = ["README.md", "notes.txt", "report/report.json", "checkpoint-9/model.safetensors"]
    write(tmp_path, *ours, *others, "checkpoint-3/run.json", "checkpoint-3/model.safetensors")
    removed, stays = remove_earlier_run(tmp_path)
    assert removed == ["checkpoint-3", *ours]
    assert stays == ["README.md", "checkpoint-9", "notes.txt", "report"]
    assert sorted(path.name for path in tmp_path.iterdir()) == stays


def test_train_replaces_a_finished_run_and_says_what_stays(folder, tmp_path, capsys):
    out = tmp_path / "out"
    main(["train", *flags(folder, out, max_steps=2, save_steps=1)])
    first = (out / "model.safetensors").read_bytes()
    write(out, "notes.txt")
    again = ["train", *flags(folder, out, max_steps=1, save_strategy="no", seed=7)]
    with pytest.raises(SystemExit, match="2"):
        main(again)
    assert "has a finished run" in capsys.readouterr().err
    assert (out / "model.safetensors").read_bytes() == first
    main([*again, "--overwrite_output_dir"])
    said = capsys.readouterr().out
    assert f"Removed the earlier run in {out}. These files and folders stay: README.md, notes.txt." in said
    assert (out / "model.safetensors").read_bytes() != first
    assert not list(out.glob("checkpoint-*"))


def test_a_run_that_cannot_start_leaves_the_finished_one(folder, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(folder / "teacher", out)
    write(out, "distillation.json")
    before = sorted(path.name for path in out.iterdir())
    with pytest.raises(SystemExit, match="2"):
        main(["train", *flags(folder, out, student_num_hidden_layers=9), "--overwrite_output_dir"])
    assert sorted(path.name for path in out.iterdir()) == before
