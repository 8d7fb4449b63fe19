"""Whatever ends a run, what was finished is whole, and the message says what happened and how to go on."""

import errno
import json
import os
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from interrupted import SETTINGS, At, cut, same_weights
from invariance import make_trainer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

import hf_distill.utils.atomic as files
from hf_distill import TeacherCache
from hf_distill.training.checkpoint_files import damaged_file


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


# ---- Checkpoints ----


def test_a_run_goes_on_from_a_whole_checkpoint_and_ends_as_if_nothing_had_been(run, whole, models, dataset, tokenizer):
    (run / "checkpoint-4" / "trainer_state.json").unlink()
    cut(run / "checkpoint-4" / "model.safetensors")
    (run / "checkpoint-3" / "_writing-x").mkdir()
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS)
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model()
    assert same_weights(run, whole)
    assert damaged_file(run / "checkpoint-4") is None


def test_a_run_that_is_done_takes_no_step_more_when_it_is_resumed(whole, models, dataset, tokenizer, tmp_path):
    # Three of the four steps of an epoch: Trainer looks whether it is done after a step alone.
    for resume in (None, True):
        trainer = make_trainer(*models, dataset, tokenizer, tmp_path, **SETTINGS | {"max_steps": 3})
        trainer.train(resume_from_checkpoint=resume)
        trainer.save_model()
        assert trainer.state.global_step == 3
        assert same_weights(tmp_path, tmp_path / "checkpoint-3")


# ---- Disks ----


@pytest.fixture
def full_disk(monkeypatch):
    """Make the disk full from now on: nothing can be moved into place any more."""

    def fill():
        def refuse(*args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(files.os, "fsync", refuse)

    return fill


def test_a_full_disk_ends_training_with_the_last_whole_checkpoint_named(
    full_disk, models, dataset, tokenizer, tmp_path
):
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, callbacks=[At(2, full_disk)], **SETTINGS)
    with pytest.raises(OSError, match="checkpoint of step 3 cannot be written.*No space left.*MiB are free") as error:
        trainer.train()
    assert f"resume from {tmp_path / 'checkpoint-2'}" in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-2"]


@pytest.fixture
def large_tokenizer():
    """A tokenizer whose file is larger than every other file of a tiny student."""
    words = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *(f"word{i}" for i in range(20_000))])}
    backend = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")


@contextmanager
def files_of_at_most(num_bytes):
    """Let the operating system refuse to write larger files, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_when_the_tokenizer_is_saved(large_tokenizer, models, dataset, tmp_path):
    trainer = make_trainer(*models, dataset, large_tokenizer, tmp_path, **SETTINGS)
    with files_of_at_most(200_000), pytest.raises(OSError, match="student cannot be written.*os error 27.*MiB are fr"):
        trainer.save_model()
    assert not list(tmp_path.iterdir())
    with (
        files_of_at_most(200_000),
        pytest.raises(OSError, match="checkpoint of step 1 cannot be written.*os error 27"),
    ):
        trainer.train()
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_tokenizer_cannot_be_written_is_an_os_error(large_tokenizer, tmp_path):
    with files_of_at_most(200_000), pytest.raises(OSError, match="onnx cannot be written .*os error 27"):
        files.write_folder_atomically(tmp_path / "onnx", large_tokenizer.save_pretrained, "export.json")
    assert not list(tmp_path.iterdir())


def test_a_student_that_cannot_be_saved_leaves_the_older_one_whole(full_disk, run, whole, models, dataset, tokenizer):
    trainer = make_trainer(*models, dataset, tokenizer, run, **SETTINGS)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    full_disk()
    with pytest.raises(OSError, match="The student cannot be written.*The older files there are unchanged"):
        trainer.save_model()
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert not list(run.rglob("_writing-*"))


def test_weights_come_last_when_files_are_moved(tmp_path):
    def write(folder, in_the_way):
        with files.replace_files_atomically(folder) as temporary:
            (temporary / "model.safetensors").write_text("weights")
            (temporary / "z").mkdir()
            (temporary / "z" / "config.json").write_text("{}")
            if in_the_way:
                (folder / "z").write_text("a file in the place of a folder")

    write(tmp_path / "whole", in_the_way=False)
    assert sorted(path.name for path in (tmp_path / "whole").rglob("*")) == ["config.json", "model.safetensors", "z"]
    with pytest.raises(OSError, match="z"):
        write(tmp_path / "cut", in_the_way=True)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["z"]


def test_an_output_folder_that_cannot_be_written_to_is_a_clear_error(models, dataset, tokenizer, tmp_path):
    out = tmp_path / "out"

    def replace_by_a_file():
        shutil.rmtree(out)
        out.write_text("a file in the place of the folder")

    trainer = make_trainer(*models, dataset, tokenizer, out, callbacks=[At(0, replace_by_a_file)], **SETTINGS)
    with pytest.raises(OSError, match="The checkpoint of step 1 cannot be written into .*start anew"):
        trainer.train()
    with pytest.raises(OSError, match="The student cannot be written into .*out"):
        trainer.save_model()
    with pytest.raises(OSError, match="The output folder .*out cannot be written"):  # before the first step
        trainer.train()


def test_a_cache_folder_that_is_deleted_meanwhile_costs_nothing_but_its_rows(teacher, tokenizer, dataset, tmp_path):
    cache = TeacherCache(tmp_path, teacher, tokenizer)
    first = cache.label(dataset)
    expected = first["teacher_logits"][:]
    shutil.rmtree(tmp_path)
    assert first["teacher_logits"][:] == expected  # mapped files stay readable
    assert cache.label(dataset.select(range(8)))["teacher_logits"][:] == expected[:8]
    assert TeacherCache(tmp_path, teacher, tokenizer).label(dataset)["teacher_logits"][:] == expected


def test_training_from_a_cache_goes_on_when_its_folder_is_deleted(whole, models, dataset, tokenizer, tmp_path):
    store, out = tmp_path / "store", tmp_path / "out"
    settings = SETTINGS | {"cache_teacher_outputs": True, "teacher_cache_dir": str(store)}
    delete = At(1, lambda: shutil.rmtree(store))
    trainer = make_trainer(*models, dataset, tokenizer, out, callbacks=[delete], **settings)
    trainer.train()
    trainer.save_model()
    assert not store.exists()
    assert json.loads(Path(out, "distillation.json").read_text())["training"]["max_steps"] == 4
    assert same_weights(out, out / "checkpoint-4")
