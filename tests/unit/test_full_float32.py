"""What a cache stores is computed in full float32, also if the process has switched to TensorFloat-32."""

import pytest
import torch
from tiny import tiny_dataset, tiny_model, tiny_tokenizer

from hf_distill import TeacherCache
from hf_distill.cache.full_float32 import full_float32

MATMUL, CONV = torch.backends.cuda.matmul, torch.backends.cudnn.conv
CPU_MATMUL = torch.backends.mkldnn.matmul


@pytest.fixture(autouse=True)
def _restored():
    yield
    for backend in (torch.backends, MATMUL, CPU_MATMUL):
        backend.fp32_precision = "none"


def test_a_teacher_is_asked_in_full_float32(tmp_path):
    torch.backends.fp32_precision = "tf32"  # as `--tf32` and `--torch_compile` do
    teacher, seen = tiny_model(2), []
    teacher.register_forward_hook(lambda *args: seen.append(MATMUL.fp32_precision))
    TeacherCache(tmp_path, teacher, tiny_tokenizer()).label(tiny_dataset(tiny_tokenizer(), 4))
    assert set(seen) == {"ieee"}
    assert MATMUL.fp32_precision == "tf32"


def settings(general):
    """What products and convolutions are computed in under a general setting; other tests can have set them."""
    torch.backends.fp32_precision = general
    return MATMUL.fp32_precision, CONV.fp32_precision


@pytest.mark.parametrize("general", ["none", "tf32"])
def test_the_settings_are_as_before(general):
    later, expected = settings("ieee"), settings(general)
    with pytest.raises(ZeroDivisionError), full_float32():
        1 / 0  # noqa: B018
    with full_float32():
        inside = MATMUL.fp32_precision, CONV.fp32_precision
    assert inside == ("ieee", "ieee")
    assert (MATMUL.fp32_precision, CONV.fp32_precision) == expected
    assert settings("ieee") == later  # as `--tf32 false` of a later run sets it


def test_a_setting_of_the_products_alone_is_kept():
    MATMUL.fp32_precision = "tf32"
    with full_float32():
        pass
    assert MATMUL.fp32_precision == "tf32"


def test_a_cpu_computes_in_full_float32_too():
    torch.set_float32_matmul_precision("medium")  # bfloat16 on a CPU that has instructions for it
    before = MATMUL.fp32_precision, CPU_MATMUL.fp32_precision
    with full_float32():
        assert (MATMUL.fp32_precision, CPU_MATMUL.fp32_precision) == ("ieee", "ieee")
    assert (MATMUL.fp32_precision, CPU_MATMUL.fp32_precision) == before == ("tf32", "bf16")
    torch.set_float32_matmul_precision("highest")
