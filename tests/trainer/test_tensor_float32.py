"""`torch_compile` does not switch TensorFloat-32 on against the arguments, and not without a warning."""

from types import SimpleNamespace

import pytest
import torch
from tiny import visible_to_caplog

from hf_distill.training import tensor_float32
from hf_distill.training.tensor_float32 import settle_tensor_float32


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    monkeypatch.setattr(tensor_float32, "is_torch_tf32_available", lambda: True)
    yield
    torch.backends.cuda.matmul.fp32_precision = "none"


def settle(caplog, **changes):
    torch.backends.cuda.matmul.allow_tf32 = True  # as accelerate does for compiled models
    settings = {"torch_compile": True, "tf32": None, "bf16": False, "fp16": False, "device": torch.device("cuda")}
    with visible_to_caplog("hf_distill.training.tensor_float32"):
        settle_tensor_float32(SimpleNamespace(**settings | changes))
    return torch.backends.cuda.matmul.allow_tf32, caplog.text


def test_false_switches_it_off(caplog):
    assert settle(caplog, tf32=False) == (False, "")


def test_a_warning_if_the_arguments_leave_it_open(caplog):
    is_allowed, text = settle(caplog)
    assert is_allowed
    assert "`tf32=False` keeps full float32" in text


@pytest.mark.parametrize("changes", [{"tf32": True}, {"bf16": True}, {"torch_compile": False}])
def test_nothing_else_is_changed(caplog, changes):
    assert settle(caplog, **changes) == (True, "")
