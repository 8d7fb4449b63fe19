"""Every row counts once, whatever the loader: two processes have the gradients of the rows that they were given."""

import functools

import pytest
import torch
from counting import CASES, GLOBAL_BATCH, rows_of, run_all, run_case
from invariance import HARD, SOFT, make_trainer, reference_gradient, reference_terms, relative_difference
from launching import fork

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("counting")
    fork(2, lambda: run_all(folder), folder)
    return torch.load(folder / "results.pt", weights_only=False)


def expected_gradients(models, tokenizer, num_rows, rows_per_step):
    rows = rows_of(num_rows)
    parts = [
        rows.select(range(start, min(num_rows, start + rows_per_step))) for start in range(0, num_rows, rows_per_step)
    ]
    return [reference_gradient(*models, part, tokenizer) for part in parts]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return functools.cache(lambda name: run_case(name, folder))


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def run(request):
    """From the name of a case to what it gives, and the number of processes."""
    if request.param == 1:
        return request.getfixturevalue("one"), 1
    return request.getfixturevalue("two").__getitem__, 2


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_the_mean_over_the_rows_that_were_given(run, models, tokenizer, name):
    changes, num_rows = CASES[name][2], CASES[name][3]
    found = run[0](name)["gradients"]
    step = GLOBAL_BATCH * changes.get("gradient_accumulation_steps", 1)
    expected = expected_gradients(models, tokenizer, num_rows, step)
    passes = changes.get("max_steps", len(expected)) // len(expected)
    assert len(found) == passes * len(expected)
    for gradient, reference in zip(found, expected * passes, strict=True):
        assert relative_difference(gradient, reference) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_an_evaluation_is_the_mean_over_the_rows_that_were_given(run, models, tokenizer, name):
    found, num_rows = run[0](name)["evaluation"], CASES[name][4]
    if "dropped" in name:
        num_rows = len(CASES[name][1]) // (3 * run[1]) * 3 * run[1]  # batches of 3 rows
    soft, hard = reference_terms(*models, rows_of(num_rows), tokenizer)
    assert found["eval_rows"] == num_rows
    assert found["eval_loss"] == pytest.approx((SOFT * soft + HARD * hard).mean().item(), rel=1e-5)


def test_repeated_batches_of_different_sizes_count_for_nothing(two, models, tokenizer):
    found, rows = two["batches of different sizes"]["gradients"], rows_of(12)
    parts = [range(5), range(5, 10), range(10, 12)]  # 3 + 2, 3 + 2 and 2 rows
    assert len(found) == 3
    for gradient, part in zip(found, parts, strict=True):
        assert relative_difference(gradient, reference_gradient(*models, rows.select(part), tokenizer)) < 1e-5


def test_a_resumed_pass_knows_that_its_last_rows_were_dropped(models, tokenizer, tmp_path):
    settings = {"per_device_train_batch_size": 4, "dataloader_drop_last": True, "save_strategy": "steps"}
    whole, resumed = (
        make_trainer(*models, rows_of(15), tokenizer, tmp_path, save_steps=1, **settings) for _ in range(2)
    )
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
