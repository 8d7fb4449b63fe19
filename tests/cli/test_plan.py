"""A run explains itself: plan, stages, estimate, next commands; and prints nothing that says nothing."""

import re
import shlex
from types import SimpleNamespace

import pytest
from command_line import flags
from invariance import make_trainer
from letters import letters_tokenizer
from tiny import tiny_model
from transformers import TrainerState

from hf_distill import DistillationTrainingArguments
from hf_distill.cli import main
from hf_distill.cli.early_checks import check_flags
from hf_distill.cli.model_arguments import ModelArguments
from hf_distill.cli.next_commands import next_commands
from hf_distill.pipeline.plan import count_steps
from hf_distill.training import progress
from hf_distill.training.progress import ChangedNumbers, StageProgress, describe_duration
from hf_distill.utils.stages import current_title, stage, titled_stages

PLAN = """
Plan
  teacher: {teacher} (BertForSequenceClassification, 4 layers, 0.0M parameters)
  student: 2 layers of the teacher (uniform)
  1/4 teacher, 6 steps on 24 labelled rows
  2/4 teacher labels 58 texts
  3/4 student, 5 steps on 34 rows, 24 of them labelled
  4/4 baseline, 5 steps on 24 labelled rows, without the teacher
"""


def stages_of_everything(folder, out):
    """A run with every stage; 24 labelled rows, 10 unlabelled texts and 24 rows to evaluate on, 8 rows a step."""
    more = {"transfer_file": folder / "transfer.txt", "teacher_num_train_epochs": 2, "cache_teacher_outputs": True}
    store = {"teacher_cache_dir": out.with_name("store"), "logging_steps": 1}
    return ["train", *flags(folder, out, **more, **store), "--baseline", "--fine_tune_teacher"]


def test_a_dry_run_prints_the_plan_and_writes_nothing(folder, tmp_path, capsys):
    before = sorted(folder.rglob("*"))
    main([*stages_of_everything(folder, tmp_path / "out"), "--dry_run"])
    said = capsys.readouterr().out
    assert PLAN.format(teacher=folder / "teacher") in said
    assert said.endswith("Nothing was trained or written (--dry_run).\n")
    assert sorted(folder.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_without_a_number_of_epochs_has_a_highest_number_of_steps(folder, tmp_path, capsys):
    # 3 steps an epoch; 2,000 steps would be more than 50 epochs.
    main(["train", *flags(folder, tmp_path / "out"), "--fine_tune_teacher", "--dry_run"])
    expected = "  1/2 teacher, at most 150 steps on 24 labelled rows, until evaluation shows no gain\n"
    assert expected in capsys.readouterr().out


def test_one_layer_of_the_teacher_is_written_in_the_singular(folder, tmp_path, capsys):
    main(["train", *flags(folder, tmp_path / "out", student_num_hidden_layers=1), "--dry_run"])
    assert "student: 1 layer of the teacher (uniform)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        ({}, "the pretrained {}"),
        ({"student_num_hidden_layers": 2}, "2 layers of the pretrained {} (uniform)"),
        ({"student_layers": "0,3"}, "layers 0, 3 of the pretrained {}"),
        ({"student_intermediate_size": 16}, "all layers of the pretrained {}, 16 feed-forward neurons"),
    ],
)
def test_the_plan_says_what_is_taken_from_a_pretrained_student(folder, tmp_path, capsys, student, expected):
    source = folder / "teacher"
    changes = {"student_num_hidden_layers": None, "student_model_name_or_path": source, **student}
    main(["train", *flags(folder, tmp_path / "out", **changes), "--dry_run"])
    assert f"student: {expected.format(source)}\n" in capsys.readouterr().out


def test_layers_that_a_pretrained_student_lacks_are_refused_before_the_plan(folder, tmp_path, capsys):
    tiny_model(2).save_pretrained(tmp_path / "encoder")
    letters_tokenizer().save_pretrained(tmp_path / "encoder")
    student = {"student_num_hidden_layers": 3, "student_model_name_or_path": tmp_path / "encoder"}
    with pytest.raises(SystemExit, match="2"):
        main(["train", *flags(folder, tmp_path / "out", **student), "--dry_run"])
    printed = capsys.readouterr()
    assert "must be from 1 to 2, the number of layers that can be copied, got 3" in printed.err
    assert "Plan" not in printed.out


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"student_num_hidden_layers": 9}, "must be from 1 to 4, the number of layers that can be copied, got 9"),
        ({"student_num_hidden_layers": None, "student_layers": "0,4"}, "each from 0 to 3"),
        ({"student_intermediate_size": 65}, "`intermediate_size` must be from 1 to 32"),
    ],
)
def test_layers_that_the_teacher_lacks_are_refused_before_the_plan(folder, tmp_path, capsys, student, message):
    with pytest.raises(SystemExit, match="2"):
        main(["train", *flags(folder, tmp_path / "out", **student), "--dry_run"])
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Plan" not in printed.out


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_read(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hf_distill.cli.train._load", lambda *args: pytest.fail("the data are read"))
    with pytest.raises(SystemExit, match="2"):
        main(["train", *flags(folder, tmp_path / "out", report_to="wandb")])
    assert "`report_to` is 'wandb', which is not installed." in capsys.readouterr().err


def test_cache_and_search_have_a_plan_and_a_dry_run_too(folder, tmp_path, capsys):
    teacher = ["--teacher_model_name_or_path", f"{folder}/teacher", "--use_cpu"]
    data = ["--train_file", f"{folder}/train.csv", "--validation_file", f"{folder}/validation.csv"]
    out = ["--output_dir", str(tmp_path / "out"), "--dry_run"]
    main(["cache", *teacher, *data, *out, "--teacher_cache_dir", str(tmp_path / "store")])
    assert "  1/1 teacher labels 48 texts\n" in capsys.readouterr().out
    (tmp_path / "space.yaml").write_text("depth: [1, 2]\nlayers: [first]\nnum_train_epochs: [2, 5]\n")
    space = ["--space", str(tmp_path / "space.yaml"), "--require", "accuracy > 0", "--num_trials", "7"]
    main(["search", *teacher, *data, *out, *space, "--per_device_train_batch_size", "6"])
    said = capsys.readouterr().out
    stages = [line for line in said.splitlines() if line.startswith(("  1/4", "  2/4", "  3/4", "  4/4"))]
    assert re.fullmatch(r"  1/4 cost of \d+ architectures", stages[0])
    assert stages[1:3] == ["  2/4 teacher labels 48 texts", "  3/4 7 trials of 8 to 20 steps"]
    assert stages[3] == "  4/4 up to 3 finalists, 3 trainings each"
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]


def test_bars_name_their_stage_and_the_run_ends_with_the_next_commands(folder, tmp_path, capsys):
    out = tmp_path / "my out"
    main(stages_of_everything(folder, out))
    said = capsys.readouterr()
    titles = ["1/4 teacher, 6 steps", "2/4 teacher labels 58 texts", "3/4 student, 5 steps", "4/4 baseline, 5 steps"]
    places = [said.err.index(f"{title}: ") for title in titles]
    assert places == sorted(places)
    assert "evaluation: " in said.err
    for noise in ("Loading weights", "Writing model shards", "pin_memory"):
        assert noise not in said.err
    assert "'loss_kl'" in said.out
    for constant in ("kl_weight", "kl_temperature", "ce_weight", "ce_label_smoothing"):
        assert constant not in said.out
    compare, export, push = (shlex.split(line) for line in said.out.split("\nNext:\n")[1].splitlines())
    assert compare == [
        "hf-distill", "compare", "--teacher_model_name_or_path", f"{out}/teacher", "--student_model_name_or_path",
        str(out), "--baseline_model_name_or_path", f"{out}/baseline", "--validation_file",
        f"{folder}/validation.csv", "--output_dir", f"{out}/report",
    ]  # fmt: skip
    assert export[2:] == [
        "--model_name_or_path", str(out), "--quantize", "int8", "--text_file", f"{folder}/validation.csv",
        "--output_dir", f"{out}/onnx-int8",
    ]  # fmt: skip
    assert push == ["hf-distill", "push", "--folder", str(out), "--hub_model_id", "user/name"]
    for _, command, *words in (compare, export, push):
        check_flags(command, words)


def test_classes_paired_by_order_are_said_once(folder, tmp_path, capsys, caplog, tokenizer):
    names = {i: f"LABEL_{i}" for i in range(3)}
    teacher = tiny_model(2, id2label=names, label2id={name: i for i, name in names.items()})
    teacher.save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    main(["train", *flags(folder, tmp_path / "out", teacher_model_name_or_path=tmp_path / "teacher"), "--dry_run"])
    said = capsys.readouterr()
    assert (said.out + "".join(caplog.messages)).count("LABEL_0 = negative") == 1


MODELS = ModelArguments(teacher_model_name_or_path="user/teacher", student_num_hidden_layers=2)


def test_the_next_commands_read_the_rows_of_the_run_as_the_run_did(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my test.csv").write_text("")
    given = {
        "train_file": ["a.csv", "b.csv"], "validation_file": ["v.csv"], "test_file": ["my test.csv"],
        "transfer_file": ["t.txt"], "transfer_deduplicate": True, "max_train_samples": 9, "label_delimiter": "-",
        "label_column_name": ["toxic", "insult"], "metric_name": "f1", "learning_rate": 1e-4, "hub_token": "secret",
    }  # fmt: skip
    compare, export, _ = (shlex.split(line) for line in next_commands(MODELS, given, "out"))
    reading = ["--label_delimiter=-", "--label_column_name", "toxic", "insult"]
    assert compare[6:] == [
        "--test_file", "my test.csv", *reading, "--metric_name", "f1", "--output_dir", "out/report",
    ]  # fmt: skip
    assert export[6:] == ["--text_file", "my test.csv", *reading, "--output_dir", "out/onnx-int8"]
    for command, words in (("compare", compare), ("export", export)):
        check_flags(command, words[2:])


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [
        ({"teacher_model_name_or_path": "user/teacher", "teacher_revision": "v1"}, "user/teacher@v1"),
        ({"teacher_model_name_or_path": "user/teacher@v1", "teacher_revision": "v1"}, "user/teacher@v1"),
        ({"teacher_model_name_or_path": "folder", "teacher_revision": "v1"}, "folder"),
    ],
)
def test_the_teacher_is_compared_in_its_revision(tmp_path, monkeypatch, teacher, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    models = ModelArguments(**teacher, student_num_hidden_layers=2)
    compare = shlex.split(next_commands(models, {"validation_file": ["v.csv"]}, "out")[0])
    assert compare[3] == expected


def test_rows_that_the_run_held_out_are_held_out_again():
    held_out = {"train_file": ["a.csv"], "validation_split_percentage": 10.0}
    compare, export, _ = (shlex.split(line) for line in next_commands(MODELS, held_out, "out"))
    assert compare[6:10] == ["--train_file", "a.csv", "--validation_split_percentage", "10.0"]
    assert "--text_file" not in export


def test_without_a_teacher_or_rows_there_is_nothing_to_compare():
    student = ModelArguments(student_model_name_or_path="s")
    assert len(next_commands(student, {"dataset_name": "labelled"}, "out")) == 2
    assert len(next_commands(MODELS, {"transfer_file": ["t.txt"]}, "out")) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"num_train_epochs": 3}, {"num_train_epochs": 2.5, "gradient_accumulation_steps": 3},
        {"dataloader_drop_last": True}, {"max_steps": 7, "num_train_epochs": 3},
        {"per_device_train_batch_size": 100, "gradient_accumulation_steps": 4}, {"num_train_epochs": 0.1},
    ],
    ids=str,
)  # fmt: skip
def test_steps_are_counted_as_the_trainer_counts_them(models, dataset, tokenizer, tmp_path, changes):
    settings = {"per_device_train_batch_size": 5, "num_train_epochs": 1, **changes}
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, **settings)
    *_, expected = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    assert count_steps(trainer.args, len(dataset)) == expected


def test_the_teacher_has_epochs_of_its_own(tmp_path):
    args = DistillationTrainingArguments(str(tmp_path), max_steps=7, per_device_train_batch_size=8, use_cpu=True)
    assert count_steps(args, 17) == 7
    assert count_steps(args, 17, num_train_epochs=2) == 6  # 3 batches an epoch


# ---- Bars and logs ----


def test_a_stage_has_a_title_only_within_a_plan():
    with stage("student"):
        assert current_title() == ""
    with titled_stages({"student": "1/2 student", "baseline": "2/2 baseline"}):
        with stage("student"), stage("unknown"):
            assert current_title() == "1/2 student"
        with stage("baseline"):
            assert current_title() == "2/2 baseline"
        assert current_title() == ""


def test_a_number_of_the_loss_is_shown_when_it_changes():
    numbers = ChangedNumbers(["kl_weight", "kl_temperature"])
    logs = [{"loss": 1.0, "kl_weight": 1.0, "kl_temperature": t} for t in (4.0, 3.0, 3.0)]
    assert [numbers.shown(entry) for entry in logs] == [
        {"loss": 1.0}, {"loss": 1.0, "kl_temperature": 3.0}, {"loss": 1.0},
    ]  # fmt: skip


def test_the_records_of_a_training_keep_the_numbers_that_are_not_shown(models, dataset, tokenizer, tmp_path, capsys):
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, max_steps=2, logging_steps=1, disable_tqdm=True)
    trainer.train()
    assert "kl_weight" in trainer.state.log_history[0]
    said = capsys.readouterr().out
    assert "'loss_kl'" in said
    assert "kl_weight" not in said


def test_a_long_stage_is_estimated_after_its_first_steps(monkeypatch, capsys):
    clock = iter([100.0, 120.0])  # ten steps in 20 seconds, after 3 that do not count
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    bar, state = StageProgress(ChangedNumbers([])), TrainerState(max_steps=613)
    with titled_stages({"student": "2/3 student, 613 steps"}), stage("student"):
        bar.on_train_begin(None, state, None)
        for step in range(1, 20):
            state.global_step = step
            bar.on_step_end(None, state, None)
    bar.on_train_end(None, state, None)
    assert capsys.readouterr().out == "2/3 student, 613 steps: about 20 minutes left.\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(99.4, "99 seconds"), (100, "2 minutes"), (3600, "60 minutes"), (9000, "2.5 hours")]
)
def test_durations_are_short(seconds, text):
    assert describe_duration(seconds) == text
