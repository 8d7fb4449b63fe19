"""The warning about bfloat16 on a CPU that has no instructions for it."""

import pytest
import torch
from invariance import make_args

from hf_distill.training import slow_precision
from hf_distill.training.slow_precision import product_seconds, warn_of_slow_precision


@pytest.fixture
def warnings_on_a_cpu_with(monkeypatch, tmp_path):
    """Return the warnings about training arguments on a CPU whose bfloat16 products take `slowdown` times as long."""

    def warn(slowdown, **settings):
        texts, seconds = [], {torch.bfloat16: slowdown * 0.002, torch.float32: 0.002}
        monkeypatch.setattr(slow_precision, "product_seconds", seconds.__getitem__)
        monkeypatch.setattr(slow_precision.logger, "warning", texts.append)
        warn_of_slow_precision(make_args(tmp_path, **settings))
        return texts

    return warn


@pytest.mark.parametrize("flag", ["bf16", "bf16_full_eval"])
def test_a_cpu_without_the_instructions_is_named_with_the_measured_ratio(warnings_on_a_cpu_with, flag):
    (text,) = warnings_on_a_cpu_with(60, **{flag: True})
    assert "60 times slower in bfloat16 than in float32 (just measured)" in text
    assert f"Leave out {flag}:" in text


@pytest.mark.parametrize(("slowdown", "settings"), [(0.6, {"bf16": True}), (2.5, {"bf16": True}), (60, {})])
def test_nothing_is_said_about_a_cpu_that_has_them_nor_about_float32(warnings_on_a_cpu_with, slowdown, settings):
    assert warnings_on_a_cpu_with(slowdown, **settings) == []


def test_a_product_is_measured_in_seconds():
    assert 0 < product_seconds(torch.float32) < 1
