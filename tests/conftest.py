"""Fixtures that every test shares: tiny models, a tokenizer and a dataset, all built in code; nothing downloads."""

import gc
import os
import signal
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("VISIBLE_TO_GPU_TESTS", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the tests compare runs to float tolerance on one known device
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models gain nothing of more, and tests run in two processes

# A shell starts background jobs with Ctrl-C ignored, which tests of Ctrl-C would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from import_stages import IN_THIS_PROCESS, import_in_stages


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Importing the tests makes no garbage, and looking for it takes 6 of 25 CPU seconds.

    A process that xdist starts imports the library in stages, and `test_imports.py` looks at what each stage imports.
    If folders of tests are named on the command line, their conftest files can have imported it already.
    """
    gc.disable()
    try:
        if "PYTEST_XDIST_WORKER" in os.environ and "hf_distill" not in sys.modules:
            IN_THIS_PROCESS.update(import_in_stages())
        return (yield)
    finally:
        gc.enable()


# Fixtures import torch and transformers, because the process that distributes the tests needs neither.


@pytest.fixture(scope="module", autouse=True)
def _cheap_garbage_collection() -> None:
    """Take everything that lives now out of garbage collection.

    Each training collects garbage, and looking at all that is imported took 0.3 of its 0.4 seconds.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.default_generator.manual_seed(0)  # the tests see no other device


@pytest.fixture(scope="session")
def tokenizer():
    from tiny import tiny_tokenizer

    return tiny_tokenizer()


@pytest.fixture(scope="session")
def dataset(tokenizer):
    """32 labelled rows with token ids, segment ids and the raw text."""
    from tiny import tiny_dataset

    return tiny_dataset(tokenizer)


@pytest.fixture
def teacher():
    from tiny import tiny_model

    return tiny_model(num_hidden_layers=4, seed=1)


@pytest.fixture
def student():
    from tiny import tiny_model

    return tiny_model(num_hidden_layers=2, seed=2)


@pytest.fixture(scope="module")
def rows(tokenizer):
    """16 labelled rows, two of them without their label."""
    from tiny import tiny_dataset

    dataset = tiny_dataset(tokenizer, 16, seed=3)
    return dataset.map(lambda row, i: {"labels": -100 if i in (1, 9) else row["labels"]}, with_indices=True)


@pytest.fixture(scope="module")
def models():
    from tiny import tiny_model

    return tiny_model(num_hidden_layers=2, seed=2), tiny_model(num_hidden_layers=4, seed=1)


@pytest.fixture(scope="session")
def known_graphs(tmp_path_factory):
    """A model that a test of this run has exported, in whatever process, is not traced again."""
    from graphs import reuse_graphs

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all processes
    with pytest.MonkeyPatch.context() as patch:
        reuse_graphs(patch, folder / "graphs")
        yield


@pytest.fixture(scope="session")
def few_timed_passes():
    """`train` times models in two passes. Thirty take a third of a tiny run, and no test reads the times."""
    from functools import partial

    from hf_distill.data import tfidf
    from hf_distill.pipeline import evaluation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "measure_latency", partial(evaluation.measure_latency, rounds=2, warmup=0))
        patch.setattr(tfidf, "_LATENCY_ROUNDS", 2)
        yield


@pytest.fixture
def one_plot(monkeypatch):
    """Reports have one plot."""
    from one_plot import draw_one_plot

    draw_one_plot(monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer, few_timed_passes):
    """A teacher, labelled CSV files and unlabelled text."""
    from command_line import write_folder

    return write_folder(tmp_path_factory.mktemp("cli"), tokenizer)
