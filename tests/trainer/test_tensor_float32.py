"""Compiling does not switch TensorFloat-32 on against the arguments, and not without a word."""

from types import SimpleNamespace

import pytest
import torch
from tiny import visible_to_caplog

from hf_distill.training.tensor_float32 import settle_tensor_float32


@pytest.fixture(autouse=True)
def _restored():
    yield
    torch.backends.cuda.matmul.allow_tf32 = False


def settle(caplog, **changes):
    torch.backends.cuda.matmul.allow_tf32 = True  # as accelerate does for compiled models
    settings = {"torch_compile": True, "tf32": None, "bf16": False, "fp16": False, "device": torch.device("cuda")}
    with visible_to_caplog("hf_distill.training.tensor_float32"):
        settle_tensor_float32(SimpleNamespace(**settings | changes))
    return torch.backends.cuda.matmul.allow_tf32, caplog.text


def test_false_switches_it_off(caplog):
    assert settle(caplog, tf32=False) == (False, "")


def test_what_nobody_asked_for_is_said(caplog):
    is_allowed, text = settle(caplog)
    assert is_allowed
    assert "`tf32=False` keeps full float32" in text


@pytest.mark.parametrize("changes", [{"tf32": True}, {"bf16": True}, {"torch_compile": False}])
def test_what_was_asked_for_is_left_alone(caplog, changes):
    assert settle(caplog, **changes) == (True, "")
