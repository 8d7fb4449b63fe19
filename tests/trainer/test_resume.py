"""A run is resumed from its own newest undamaged checkpoint, and what has changed since is refused or recorded."""

import json
import shutil

import pytest
import torch
from datasets import ClassLabel, Dataset
from interrupted import SETTINGS, cut, flip_a_bit, same_weights
from invariance import make_args, make_trainer
from tiny import LABEL_NAMES, copy_model, tiny_model, visible_to_caplog
from transformers import TrainerCallback

from hf_distill import DistillationTrainer, TeacherEnsemble
from hf_distill.teachers import FunctionTeacher
from hf_distill.training.checkpoint_files import RUN_NAME, damaged_file, read_info

LOGGER = "hf_distill.training.checkpoints"


@pytest.fixture(scope="module")
def whole(models, dataset, tokenizer, tmp_path_factory):
    """The folder of a run of four steps that nothing disturbed; tests copy it."""
    folder = tmp_path_factory.mktemp("whole")
    trainer = make_trainer(*models, dataset, tokenizer, folder, **SETTINGS)
    trainer.train()
    trainer.save_model()
    return folder


@pytest.fixture
def run(whole, tmp_path):
    """A copy of that folder."""
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def find(models, dataset, tokenizer, tmp_path):
    """From the changes of a run to the checkpoint that it would resume from; without changes it is `whole`."""

    def find(given, folder, student=None, teacher=models[1], rows=dataset, teaching=None, **changes):
        args = make_args(tmp_path / "unused", **SETTINGS | changes)
        trainer = DistillationTrainer(
            copy_model(student or models[0]), teacher, args, train_dataset=rows, processing_class=tokenizer,
            **teaching or {},
        )  # fmt: skip
        return trainer._run_checkpoints().find(given, str(folder))

    return find


def resume(trainer):
    """Resume a run from its second checkpoint; return what it was resumed with and the rates of its steps."""
    trainer.train(resume_from_checkpoint=str(trainer.args.output_dir) + "/checkpoint-2")
    rates = {entry["step"]: entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry}
    return trainer.distillation_record().get("resumed_with"), rates


# ---- Another run ----

WORDS = [[0.0, 1.0, 2.0], [2.0, 0.0, 1.0]]


def count_letters(texts):
    return [WORDS[len(str(text)) % 2] for text in texts]


def count_letters_twice(texts):
    return [[2 * logit for logit in row] for row in count_letters(texts)]


def without_a_label(dataset):
    return dataset.map(lambda row, i: {"labels": -100 if i == 7 else row["labels"]}, with_indices=True)


OTHER_RUNS = {
    "teacher": ({"teacher": tiny_model(num_hidden_layers=4, seed=9)}, "the teacher (both are named bert"),
    "number of teachers": ({"teacher": [tiny_model(4, seed=1), tiny_model(4, seed=9)]}, "bert there, bert and bert"),
    "order of the teacher's labels": (
        {"teacher": tiny_model(4, seed=1, id2label=dict(enumerate(LABEL_NAMES[::-1])))}, "the teacher",
    ),
    "calibration": ({"calibrate_teacher": True}, "the teacher"),
    "temperature": ({"temperature": 4.0}, "the objectives (kl.temperature: 3.0 there, 4.0 now)"),
    "weight": ({"hard_label_weight": 0.0}, "the objectives (ce"),
    "objective": ({"soft_loss": "jsd"}, "the objectives (jsd"),
    "schedule of a weight": (
        {
            "temperature": None, "soft_label_weight": None, "hard_label_weight": None,
            "objectives": {"ce": 0.4, "kl": {"temperature": {"schedule": "linear", "start": 3.0, "end": 1.0}}},
        },
        "kl.temperature: 3.0 there, {'schedule'",
    ),
    "layers of the student": (
        {"student": tiny_model(num_hidden_layers=1, seed=2)}, "the student (config.num_hidden_layers: 2 there",
    ),
    "optimizer": ({"optim": "sgd"}, "the optimizer (adamw_torch there, sgd now)"),
    "schedule that follows evaluations": ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "the checkpoint restores"),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHER_RUNS)
def test_checkpoints_of_another_run_are_refused_with_the_part_that_differs(what, whole, find, dataset):
    changes, message = OTHER_RUNS[what]
    changes = {"teaching": {"eval_dataset": dataset}, **changes}
    if what == "schedule that follows evaluations":
        changes |= {"eval_strategy": "epoch", "metric_for_best_model": "loss"}
    for given in (True, "True", str(whole / "checkpoint-4")):
        with pytest.raises(
            ValueError, match="checkpoint-4 belongs to another run.*Choose another `output_dir`"
        ) as said:
            find(given, whole, **changes)
        assert message in str(said.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.select(range(31)), "the training rows (32 there, 31 now)"),
        (lambda rows: rows.select(range(31, -1, -1)), "columns attention_mask, input_ids, labels, token_type_ids"),
        (without_a_label, "columns labels)"),
        (lambda rows: rows.remove_columns("labels"), "columns labels)"),
        (lambda rows: rows.remove_columns("token_type_ids"), "columns token_type_ids)"),
        (lambda rows: rows.map(lambda row: {"token_type_ids": [0] * len(row["input_ids"])}), "token_type_ids)"),
    ],
    ids=["fewer", "reversed", "one label", "no labels", "no segments", "other segments"],
)
def test_other_training_rows_are_refused(whole, find, dataset, change, message):
    with pytest.raises(ValueError, match="belongs to another run") as said:
        find(True, whole, rows=change(dataset))
    assert message in str(said.value)


def test_rows_that_hold_the_same_are_the_same_rows(whole, find, dataset):
    expected = str(whole / "checkpoint-4")
    wide = dataset.map(lambda row: {"text": row["text"] + "!", "length": 3}).shuffle(seed=0)
    back = sorted(range(32), key=lambda i: wide._indices.column(0)[i].as_py())
    plain = Dataset.from_list([dict(row) for row in dataset.select_columns(["labels", "input_ids", "attention_mask"])])
    segments = dataset.select_columns(["token_type_ids"])
    for rows in (
        dataset.select(range(32)),
        wide.select(back),
        plain.add_column("token_type_ids", segments[:]["token_type_ids"]),
    ):
        assert find(True, whole, rows=rows) == expected


def test_a_student_with_frozen_embeddings_is_another_one(whole, find):
    student = tiny_model(num_hidden_layers=2, seed=2)
    student.get_input_embeddings().requires_grad_(False)
    with pytest.raises(ValueError, match="trained weights: "):
        find(True, whole, student=student)


def test_label_names_and_problem_types_are_parts_of_a_run(whole, find, models, dataset):
    names = {"id2label": dict(enumerate("abc")), "label2id": {"a": 0, "b": 1, "c": 2}}
    named = dataset.cast_column("labels", ClassLabel(names=["a", "b", "c"]))
    with pytest.raises(ValueError, match="the label names"):
        find(True, whole, student=tiny_model(2, seed=2, **names), teacher=tiny_model(4, seed=1, **names), rows=named)
    config = {"problem_type": "multi_label_classification"}
    rows = dataset.map(lambda row: {"labels": [float(row["labels"] == i) for i in range(3)]})
    with pytest.raises(ValueError, match="the problem type .single_label_classification there, multi_label"):
        find(
            True, whole, student=tiny_model(2, **config), teacher=tiny_model(4, **config), rows=rows, temperature=None
        )


def test_the_same_teacher_is_known_wherever_it_lies_and_however_it_runs(whole, find, tmp_path):
    tiny_model(4, seed=1).save_pretrained(tmp_path / "teacher")
    cached = {"cache_teacher_outputs": True, "teacher_cache_dir": str(tmp_path / "store")}
    for changes in ({}, cached):
        assert find(True, whole, teacher=str(tmp_path / "teacher"), **changes) == str(whole / "checkpoint-4")
        with pytest.raises(ValueError, match="the teacher"):
            find(True, whole, teacher=tiny_model(4, seed=9), **changes)


def test_a_stored_teacher_takes_over_from_a_live_one_and_ends_with_the_same_weights(
    run, whole, models, dataset, tokenizer, tmp_path
):
    cached = {"cache_teacher_outputs": True, "teacher_cache_dir": str(tmp_path / "store")}
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS | cached)
    resumed_with, _ = resume(trainer)
    assert resumed_with is None
    for name, value in trainer.model.state_dict().items():
        torch.testing.assert_close(value, tiny_state(whole)[name], atol=1e-6, rtol=0)


def tiny_state(folder):
    return type(tiny_model(2)).from_pretrained(folder).state_dict()


def test_functions_are_known_by_their_names_or_else_by_their_outputs(find, models, dataset, tokenizer, tmp_path):
    def trained(name, function):
        folder = tmp_path / name
        args = make_args(folder, **SETTINGS | {"max_steps": 1, "teacher_cache_dir": str(tmp_path / "store")})
        DistillationTrainer(
            copy_model(models[0]), function, args, train_dataset=dataset, processing_class=tokenizer
        ).train()
        return folder

    def named(function, name):
        return FunctionTeacher(function, name=name, labels=LABEL_NAMES)

    folder = trained("unnamed", count_letters)
    store = {"teacher_cache_dir": str(tmp_path / "store")}
    assert find(True, folder, teacher=lambda texts: count_letters(texts), **store)
    with pytest.raises(ValueError, match="training rows .columns teacher_logits"):
        find(True, folder, teacher=count_letters_twice, **store)
    folder = trained("named", named(count_letters, "letters"))
    assert find(True, folder, teacher=named(count_letters, "letters"), **store)
    with pytest.raises(ValueError, match="the teacher .letters there, others now"):
        find(True, folder, teacher=named(count_letters_twice, "others"), **store)


def test_an_ensemble_is_its_members_and_how_they_are_combined(find, models, dataset, tokenizer, tmp_path):
    def ensemble(**options):
        return TeacherEnsemble([tiny_model(4, seed=1), tiny_model(3, seed=3)], **options)

    args = make_args(tmp_path, **SETTINGS | {"max_steps": 1})
    DistillationTrainer(
        copy_model(models[0]), ensemble(), args, train_dataset=dataset, processing_class=tokenizer
    ).train()
    assert find(True, tmp_path, teacher=ensemble(weights=[2, 2]))
    for options in ({"weights": [1, 2]}, {"mean_of": "logits"}, {"temperatures": [1.0, 2.0]}):
        with pytest.raises(ValueError, match="the teacher"):
            find(True, tmp_path, teacher=ensemble(**options))


def test_without_a_term_that_reads_the_teacher_any_teacher_will_do(find, models, dataset, tokenizer, tmp_path):
    alone = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None, "objectives": {"ce": 1.0}}
    make_trainer(*models, dataset, tokenizer, tmp_path, **SETTINGS | alone | {"max_steps": 1}).train()
    assert find(True, tmp_path, teacher=tiny_model(4, seed=9), **alone)
    assert find(True, tmp_path, teacher=None, **alone)


# ---- Which checkpoint ----


def test_true_takes_the_newest_checkpoint_not_the_one_with_the_highest_number(run, models, dataset, tokenizer):
    make_trainer(*models, dataset, tokenizer, run, **SETTINGS | {"max_steps": 2, "learning_rate": 1e-3}).train()
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS)
    assert trainer._run_checkpoints().find(True, str(run)) == str(run / "checkpoint-2")


def test_checkpoints_of_other_runs_beside_those_of_this_run_are_left_alone(run, whole, models, dataset, tokenizer):
    other = make_trainer(*models, dataset, tokenizer, run, **SETTINGS | {"temperature": 9.0, "max_steps": 1})
    other.train()
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS)
    assert trainer._run_checkpoints().find(True, str(run)) == str(run / "checkpoint-4")
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS | {"temperature": 9.0})
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model()
    assert not same_weights(run, whole)
    steps = [entry["step"] for entry in trainer.state.log_history if "loss" in entry]
    assert steps == [1, 2, 3, 4]


def test_no_checkpoint_at_all_starts_anew_and_says_so(whole, models, dataset, tokenizer, tmp_path, caplog):
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, **SETTINGS)
    with visible_to_caplog(LOGGER):
        trainer.train(resume_from_checkpoint="True")
    trainer.save_model()
    assert f"There is no checkpoint in {tmp_path}, so this training starts anew" in caplog.text
    assert same_weights(tmp_path, whole)


@pytest.mark.parametrize("given", [None, False, "false", "False"])
def test_false_means_not_to_resume(run, find, given):
    assert find(given, run) is None


def test_a_checkpoint_that_does_not_exist_is_refused(find, tmp_path):
    with pytest.raises(ValueError, match="There is no checkpoint .*absent"):
        find(str(tmp_path / "absent"), tmp_path)


def test_a_checkpoint_of_an_unknown_run_is_taken_only_if_it_is_named(run, find, caplog):
    for checkpoint in run.glob("checkpoint-*"):
        (checkpoint / RUN_NAME).unlink()
    with pytest.raises(ValueError, match="checkpoint-4 has no run.json.*name its folder"):
        find(True, run)
    with visible_to_caplog(LOGGER):
        assert find(str(run / "checkpoint-4"), run) == str(run / "checkpoint-4")
    assert "whether it belongs to this run cannot be checked" in caplog.text


class ForeignBest(TrainerCallback):
    """Puts a checkpoint of another run where this run has its best step and saves nothing."""

    def __init__(self, source, folder):
        self.source, self.folder = source, folder

    def on_train_begin(self, *args, **kwargs):
        shutil.copytree(self.source, self.folder / "checkpoint-1")


def test_the_best_checkpoint_is_one_of_this_run(whole, models, dataset, tokenizer, tmp_path):
    settings = {
        "eval_strategy": "steps", "eval_steps": 1, "save_steps": 2, "load_best_model_at_end": True,
        "metric_for_best_model": "loss", "learning_rate": 0.0,  # so no later step is better than the first
    }  # fmt: skip
    foreign = ForeignBest(whole / "checkpoint-1", tmp_path)
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, callbacks=[foreign], **SETTINGS | settings)
    trainer.train()
    assert trainer.state.best_global_step == 1
    assert trainer.state.best_model_checkpoint is None
    state = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] is None
    assert damaged_file(tmp_path / "checkpoint-4") is None


def test_a_baseline_starts_anew_beside_checkpoints_of_another_one(models, dataset, tokenizer, tmp_path, caplog):
    for rows in (dataset, without_a_label(dataset)):
        settings = SETTINGS | {"resume_from_checkpoint": "True", "max_steps": 2}
        trainer = make_trainer(*models, rows, tokenizer, tmp_path, **settings)
        trainer.train()
        with visible_to_caplog(LOGGER):
            baseline = trainer.train_baseline(copy_model(models[0]))
        assert [entry["step"] for entry in baseline.state.log_history if "loss" in entry] == [1, 2]
    assert "columns attention_mask, input_ids, labels" not in caplog.text
    assert "the training rows (32 there, 31 now)" in caplog.text
    assert "This training starts anew" in caplog.text


# ---- Other settings ----


def test_other_settings_are_printed_recorded_and_take_effect(run, models, dataset, tokenizer, caplog):
    changes = {"learning_rate": 1e-3, "weight_decay": 0.3, "seed": 7, "per_device_train_batch_size": 4, "max_steps": 6}
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS | changes)
    with visible_to_caplog(LOGGER):
        resumed_with, rates = resume(trainer)
    (entry,) = resumed_with
    assert entry.pop("step") == 2
    assert entry == {
        "learning_rate": [1e-2, 1e-3], "weight_decay": [0.0, 0.3], "seed": [42, 7], "max_steps": [-1, 6],
        "per_device_train_batch_size": [8, 4],
    }  # fmt: skip
    assert "learning_rate 0.01 -> 0.001" in caplog.text
    assert rates == {step: 1e-2 if step < 3 else 1e-3 for step in range(1, 7)}
    decays = {group["weight_decay"] for group in trainer.optimizer.param_groups}
    assert decays == {0.0, 0.3}
    assert read_info(run / "checkpoint-6").resumed_with == trainer.record["resumed_with"]


def test_a_schedule_over_more_steps_holds_from_the_first_step_on(run, models, dataset, tokenizer, tmp_path):
    settings = SETTINGS | {"lr_scheduler_type": "linear"}
    make_trainer(*models, dataset, tokenizer, tmp_path / "first", **settings).train()
    _, rates = resume(make_trainer(*models, dataset, tokenizer, tmp_path / "first", **settings | {"max_steps": 8}))
    assert rates == pytest.approx({step: 1e-2 * (1 - (step - 1) / (8 if step > 2 else 4)) for step in range(1, 9)})


def test_all_resumptions_with_other_settings_are_in_the_record(run, models, dataset, tokenizer):
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS | {"seed": 8})
    trainer.train(resume_from_checkpoint=str(run / "checkpoint-3"))
    assert trainer.record["resumed_with"] == [{"step": 3, "seed": [42, 8]}]
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS | {"max_steps": 5})
    trainer.train(resume_from_checkpoint=True)
    expected = [{"step": 3, "seed": [42, 8]}, {"step": 4, "max_steps": [-1, 5], "seed": [8, 42]}]
    assert trainer.distillation_record()["resumed_with"] == expected
    trainer.save_model()
    assert json.loads((run / "distillation.json").read_text())["resumed_with"] == expected


def test_a_run_that_starts_anew_has_no_resumptions_in_its_record(run, models, dataset, tokenizer):
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS | {"seed": 7})
    trainer.train(resume_from_checkpoint=True)
    assert "resumed_with" in trainer.distillation_record()
    trainer.train()
    assert "resumed_with" not in trainer.distillation_record()


def test_streamed_rows_are_recorded_as_unknown(models, dataset, tokenizer, tmp_path, caplog):
    settings = SETTINGS | {"max_steps": 2, "train_sampling_strategy": "random"}
    make_trainer(*models, dataset.to_iterable_dataset(), tokenizer, tmp_path, **settings).train()
    assert read_info(tmp_path / "checkpoint-2").identity["training rows"] is None
    rows = without_a_label(dataset).to_iterable_dataset()
    trainer = make_trainer(*models, rows, tokenizer, tmp_path, **settings | {"max_steps": 3})
    with visible_to_caplog(LOGGER):
        trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 3
    assert "is not known" in caplog.text


# ---- Damage ----

FILES = ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "config.json", "trainer_state.json"]


@pytest.mark.parametrize("damage", [flip_a_bit, cut, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", FILES[:2])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(run, find, name, damage, caplog):
    damage(run / "checkpoint-4" / name)
    flip_a_bit(run / "checkpoint-3" / "scheduler.pt")
    with visible_to_caplog(LOGGER):
        assert find(True, run) == str(run / "checkpoint-2")
    expected = f"Skipped damaged checkpoints: checkpoint-4 ({name}), checkpoint-3 (scheduler.pt). Resumes from check"
    assert expected in caplog.text
    with pytest.raises(ValueError, match=f"checkpoint-4 is damaged: {name} is missing.*checkpoint-2, which is comple"):
        find(str(run / "checkpoint-4"), run)


@pytest.mark.parametrize("name", [*FILES, RUN_NAME])
def test_a_flipped_bit_in_any_file_is_noticed(run, name):
    flip_a_bit(run / "checkpoint-4" / name)
    assert damaged_file(run / "checkpoint-4") == run / "checkpoint-4" / name


def test_every_file_of_a_checkpoint_has_a_checksum(run):
    written = {path.name for path in (run / "checkpoint-4").iterdir()}
    assert read_info(run / "checkpoint-4").files.keys() == written - {RUN_NAME}
    assert written >= {*FILES}


def test_damage_alone_is_an_error(run, find):
    for step in range(1, 5):
        flip_a_bit(run / f"checkpoint-{step}" / (RUN_NAME if step == 2 else "optimizer.pt"))
    with pytest.raises(ValueError, match="All checkpoints of this run .* are damaged: checkpoint-2 .run.json.*Start"):
        find(True, run)


def test_checkpoints_that_a_kill_cut_off_are_passed_by(run, find, caplog):
    (run / "checkpoint-4" / "trainer_state.json").unlink()  # killed before Trainer wrote its last file
    info = json.loads((run / "checkpoint-3" / RUN_NAME).read_text())
    cut(run / "checkpoint-3" / "trainer_state.json")  # killed while it did
    assert info["files"]
    with visible_to_caplog(LOGGER):
        assert find(True, run) == str(run / "checkpoint-2")
    assert "checkpoint-4: it was not saved completely" in caplog.text


def test_a_kill_while_the_checksums_are_computed_costs_nothing(run, find, models, dataset, tokenizer, monkeypatch):
    def kill(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("hf_distill.training.checkpoint_files.CheckpointInfo.with_checksums", kill)
    shutil.rmtree(run / "checkpoint-4")
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(resume_from_checkpoint=str(run / "checkpoint-3"))
    assert read_info(run / "checkpoint-4").files is None
    assert find(True, run) == str(run / "checkpoint-4")


def test_files_of_another_run_do_not_stay_in_a_checkpoint_that_is_written_over(run, models, dataset, tokenizer):
    (run / "checkpoint-2" / "objectives.safetensors").write_bytes(b"projections of another run")
    make_trainer(*models, dataset, tokenizer, run, **SETTINGS | {"max_steps": 2}).train()
    assert not (run / "checkpoint-2" / "objectives.safetensors").exists()
    assert "optimizer.pt" in read_info(run / "checkpoint-2").files


def test_a_resumed_run_ends_as_if_nothing_had_been(run, whole, models, dataset, tokenizer):
    flip_a_bit(run / "checkpoint-4" / "model.safetensors")
    flip_a_bit(run / "checkpoint-3" / "optimizer.pt")
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS)
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model()
    assert same_weights(run, whole)


@pytest.mark.parametrize("is_named", [True, False])
def test_a_checkpoint_of_weights_alone_is_not_resumed_from(models, dataset, tokenizer, tmp_path, is_named):
    def make():
        return make_trainer(*models, dataset, tokenizer, tmp_path, **SETTINGS | {"save_only_model": True})

    make().train()
    checkpoint = str(tmp_path / "checkpoint-2") if is_named else True
    with pytest.raises(ValueError, match="no state of optimizer and schedule.*`save_only_model`"):
        make().train(resume_from_checkpoint=checkpoint)
