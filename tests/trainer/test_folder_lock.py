"""One process at a time trains into a folder, and none that has ended keeps another one out."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from command_line import flags
from forked import start_forked
from interrupted import SETTINGS, At
from invariance import make_trainer

from hf_distill.cli import main
from hf_distill.training.folder_lock import LOCK_NAME, locked_folder


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return i


def hold_forever(folder):
    """Lock a folder, start two workers that know the lock, and say so in a file."""
    with locked_folder(folder):
        loader = iter(torch.utils.data.DataLoader(Rows(), num_workers=2))
        next(loader)
        folder.with_suffix(".held").touch()
        time.sleep(600)


@pytest.fixture
def hold(tmp_path_factory):
    """Start a process with two workers that holds the lock of a folder."""
    started = []

    def start(folder):
        started.append(start_forked(lambda: hold_forever(folder), tmp_path_factory.mktemp("printed")))
        deadline = time.monotonic() + 60
        while not folder.with_suffix(".held").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join()


def is_free(folder):
    try:
        with locked_folder(folder):
            return True
    except OSError:
        return False


def test_a_second_training_into_a_folder_is_refused_and_names_the_first(hold, models, dataset, tokenizer, tmp_path):
    process = hold(tmp_path / "out")
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path / "out", **SETTINGS)
    with pytest.raises(OSError, match=f"Another training writes into .*out .process {process.pid} on .*output_dir"):
        trainer.train()
    assert not list((tmp_path / "out").glob("checkpoint-*"))
    assert not is_free(tmp_path / "out" / ".." / "out")  # by whatever name
    assert is_free(tmp_path)


def test_a_process_that_was_killed_blocks_nobody_though_its_workers_live_on(hold, tmp_path):
    process = hold(tmp_path)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(workers) == 2
    for worker in workers:
        os.kill(int(worker), signal.SIGSTOP)
    try:
        assert not is_free(tmp_path)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # `join` would also wait for the workers
        assert is_free(tmp_path)
    finally:
        for worker in workers:
            os.kill(int(worker), signal.SIGKILL)


def test_the_command_line_ends_with_one_message(hold, folder, tmp_path, capsys):
    hold(tmp_path / "out")
    with pytest.raises(SystemExit) as stopped:
        main(["train", *flags(folder, tmp_path / "out", max_steps=1)])
    assert stopped.value.code == 2
    assert "hf-distill train: Another training writes into" in capsys.readouterr().err


def test_the_lock_leaves_nothing_behind_and_is_free_after_an_error(models, dataset, tokenizer, tmp_path):
    def fail():
        assert (tmp_path / LOCK_NAME).exists()
        raise RuntimeError("some error")

    trainer = make_trainer(*models, dataset, tokenizer, tmp_path, callbacks=[At(1, fail)], **SETTINGS)
    with pytest.raises(RuntimeError, match="some error"):
        trainer.train()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]
    assert is_free(tmp_path)


def test_one_process_can_lock_a_folder_twice(tmp_path):
    with locked_folder(tmp_path), locked_folder(tmp_path / "." / ".." / tmp_path.name):
        pass
    assert not (tmp_path / LOCK_NAME).exists()


def test_a_lock_file_that_was_left_behind_or_leads_elsewhere(tmp_path):
    (tmp_path / LOCK_NAME).write_text("process 1 on another machine, which has ended\n")
    assert is_free(tmp_path)
    (tmp_path / "precious").write_text("text")
    (tmp_path / LOCK_NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="cannot be written"), locked_folder(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "text"
