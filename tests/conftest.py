"""Fixtures that every test shares: tiny models, a tokenizer and a data set, all built in code; nothing downloads."""

import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("VISIBLE_TO_GPU_TESTS", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the tests compare runs to float tolerance on one known device
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models gain nothing of more, and tests run in two processes

# A shell starts background jobs with Ctrl-C ignored, which tests of Ctrl-C would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
import torch
from command_line import write_folder
from tiny import tiny_dataset, tiny_model, tiny_tokenizer


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def dataset(tokenizer):
    """32 labelled rows with token ids, segment ids and the raw text."""
    return tiny_dataset(tokenizer)


@pytest.fixture
def teacher():
    return tiny_model(num_hidden_layers=4, seed=1)


@pytest.fixture
def student():
    return tiny_model(num_hidden_layers=2, seed=2)


@pytest.fixture(scope="module")
def rows(tokenizer):
    """16 labelled rows, two of them without their label."""
    dataset = tiny_dataset(tokenizer, 16, seed=3)
    return dataset.map(lambda row, i: {"labels": -100 if i in (1, 9) else row["labels"]}, with_indices=True)


@pytest.fixture(scope="module")
def models():
    return tiny_model(num_hidden_layers=2, seed=2), tiny_model(num_hidden_layers=4, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """A teacher, labelled CSV files and unlabelled text."""
    return write_folder(tmp_path_factory.mktemp("cli"), tokenizer)
