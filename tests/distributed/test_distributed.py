"""Two gloo processes on this machine, forks of the test process, against one process with the same rows.

Four processes, `accelerate launch` and two machines are slow: `pytest -m "slow and distributed"`.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from distributed_worker import INNER, rows_of, run, train_inner
from invariance import make_trainer, reference_gradient, relative_difference, trained_gradients
from launching import fork, start
from process_counts import CASES, LABELLED, NUM_ROWS, objectives_of, run_and_save, run_case, run_cases, run_each
from tiny import tiny_dataset, tiny_model

from hf_distill import TeacherCache
from hf_distill.objectives import OBJECTIVES

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What two processes find."""
    folder = tmp_path_factory.mktemp("distributed")
    fork(2, lambda: run(folder), folder)
    return torch.load(folder / "results.pt", weights_only=False)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """What four processes find."""
    folder = tmp_path_factory.mktemp("four")
    fork(4, lambda: run_and_save(folder), folder)
    return torch.load(folder / "counts.pt", weights_only=False)["cases"]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run_cases(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def models():
    return tiny_model(num_hidden_layers=2, seed=2), tiny_model(num_hidden_layers=4, seed=1)


@pytest.mark.parametrize("case", ["16 rows, 8 x 1", "16 rows, 4 x 2", "3 rows, 4 x 1", "10 rows, 4 x 2"])
def test_two_processes_give_the_gradient_of_one(results, models, tokenizer, case):
    assert results[case]["world_size"] == 2
    (gradient,) = results[case]["gradients"]
    rows = rows_of(tokenizer, int(case.split()[0]))
    assert relative_difference(gradient, reference_gradient(*models, rows, tokenizer)) < 1e-5


def test_repeated_rows_count_for_nothing_where_the_rows_do_not_divide(results, models, tokenizer, tmp_path):
    one_process = trained_gradients(
        *models, rows_of(tokenizer, 14), tokenizer, tmp_path, per_device_train_batch_size=8
    )
    two_processes = results["14 rows, 4 x 1"]["gradients"]
    assert len(one_process) == len(two_processes) == 2
    for a, b in zip(two_processes, one_process, strict=True):
        assert relative_difference(a, b) < 1e-5


def test_a_resumed_epoch_knows_its_repeated_rows_too(results):
    assert results["resumed"]["weights_differ_by"] == 0.0
    assert torch.equal(*results["resumed"]["weights"])


def test_evaluation_is_exact_whatever_the_training_sampler(results, models, tokenizer, tmp_path):
    expected = make_trainer(*models, rows_of(tokenizer, 10), tokenizer, tmp_path).evaluate()["eval_loss"]
    assert results["batch_rebalance"]["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_length_grouped_batches_are_the_same_on_one_process_and_two(results, models, tokenizer, tmp_path):
    one_process = trained_gradients(
        *models, rows_of(tokenizer, 30), tokenizer, tmp_path, per_device_train_batch_size=8,
        train_sampling_strategy="group_by_length",
    )  # fmt: skip
    assert len(one_process) == len(results["group_by_length"]["gradients"]) == 4
    for a, b in zip(results["group_by_length"]["gradients"], one_process, strict=True):
        assert relative_difference(a, b) < 1e-4


def test_the_processes_end_with_equal_weights(results):
    assert all(result["weights_differ_by"] == 0.0 for case, result in results.items() if "rows" in case)


def test_evaluation_counts_every_row_once(results, models, tokenizer, tmp_path):
    for case in (case for case in results if "rows" in case):
        result, num_rows = results[case], int(case.split()[0])
        trainer = make_trainer(*models, rows_of(tokenizer, num_rows), tokenizer, tmp_path)
        trainer.compute_metrics = lambda p: {"rows": float(len(p.label_ids)), "sum": float(p.predictions.sum())}
        expected = trainer.evaluate()
        assert result["evaluation"]["eval_rows"] == num_rows
        for name in ("eval_loss", "eval_loss_kl", "eval_loss_ce", "eval_agreement", "eval_sum", "eval_teacher_sum"):
            assert result["evaluation"][name] == pytest.approx(expected[name], rel=1e-5), (case, name)


def test_logged_terms_are_those_of_one_process(results, models, tokenizer, tmp_path):
    trainer = make_trainer(*models, rows_of(tokenizer, 14), tokenizer, tmp_path, per_device_train_batch_size=8)
    trainer.train()
    expected = [entry for entry in trainer.state.log_history if "loss" in entry]
    for ours, theirs in zip(results["14 rows, 4 x 1"]["logs"], expected, strict=True):
        for name in ("loss", "loss_kl", "loss_ce"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5)


def test_two_processes_train_projections_as_one_does(results, models, tokenizer, tmp_path):
    inner = results["inner"]
    trainer, gradients = train_inner(models[1], rows_of(tokenizer, 14), tokenizer, tmp_path, 4)
    assert len(gradients) == len(inner["gradients"]) == 4
    for ours, theirs in zip(inner["gradients"], gradients, strict=True):
        assert relative_difference(ours, theirs) < 1e-4
    assert inner["weights_differ_by"] == 0.0
    expected = [entry for entry in trainer.state.log_history if "loss" in entry]
    for ours, theirs in zip(inner["logs"], expected, strict=True):
        for name in ("loss", *(f"loss_{name}" for name in INNER), "minilm_relation_weight"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4)
    evaluation = trainer.evaluate()
    for name in ("loss", *(f"loss_{name}" for name in INNER)):
        assert inner["evaluation"][f"eval_{name}"] == pytest.approx(evaluation[f"eval_{name}"], rel=1e-4)


def test_two_processes_share_the_teachers_work_and_compute_each_text_once(results, models, tokenizer, tmp_path):
    rows = tiny_dataset(tokenizer, 40, seed=3)
    alone = TeacherCache(tmp_path, models[1], tokenizer)
    expected = torch.tensor(alone.label(rows)["teacher_logits"][:])
    assert sum(results["cache"]["computed"]) == alone.num_computed
    assert min(results["cache"]["computed"]) > 0
    assert torch.allclose(results["cache"]["logits"], torch.cat([expected, expected]), atol=1e-5)


def test_teachers_of_every_kind_say_the_same_on_two_processes(results, tokenizer, tmp_path):
    from distributed_worker import run_teachers

    found, expected = results["teachers"], run_teachers(tokenizer, tmp_path)
    assert found["asked"] == expected["asked"] == 30  # between them
    for ours, theirs in zip(found["calibration"], expected["calibration"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for name in ("eval_loss", "eval_loss_kl", "eval_agreement"):
        assert found["evaluation"][name] == pytest.approx(expected["evaluation"][name], rel=1e-5)


# ---- One process, two and four ----


def assert_same_run(found: dict, expected: dict) -> None:
    """Gradients, every term of the logs, evaluation and what was learnt."""
    assert len(found["gradients"]) == len(expected["gradients"]) == 4
    # The first gradient is of equal weights; later ones carry the rounding that AdamW's first steps amplify.
    assert relative_difference(found["gradients"][0], expected["gradients"][0]) < 1e-5
    for ours, theirs in zip(found["gradients"][1:], expected["gradients"][1:], strict=True):
        assert relative_difference(ours, theirs) < 1e-3
    assert relative_difference(found["learnt"], expected["learnt"]) < 1e-4
    for ours, theirs in zip(found["logs"], expected["logs"], strict=True):
        terms = [name for name in theirs if name.startswith("loss")]
        assert {name: ours[name] for name in terms} == pytest.approx({name: theirs[name] for name in terms}, rel=1e-4)
    assert found["evaluation"]["eval_rows"] == NUM_ROWS
    terms = [name for name in expected["evaluation"] if name.startswith("eval_loss")]
    evaluation = {name: found["evaluation"][name] for name in terms}
    assert evaluation == pytest.approx({name: expected["evaluation"][name] for name in terms}, rel=1e-4)


def test_the_cases_hold_every_objective_whose_terms_are_of_one_unit():
    assert objectives_of(LABELLED, False).keys() == {name for name, cls in OBJECTIVES.items() if cls.is_per_unit}
    assert {*objectives_of(LABELLED, True)} == {*objectives_of(LABELLED, False)} - {
        "hidden_mse", "hidden_cosine", "embedding_mse", "attention_mse", "minilm_relation"
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}, {'cached' if case[1] else 'live'}")
def test_one_process_and_two_learn_the_same(one, results, case):
    assert_same_run(results["cases"][case], one[case])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}, {'cached' if case[1] else 'live'}")
def test_four_processes_learn_what_one_does(one, four, case):
    assert_same_run(four[case], one[case])


def assert_each_text_was_computed_once(found: dict, expected: dict) -> None:
    (num_computed,) = expected["computed"]
    assert len(num_computed) == 2  # logits and [CLS] states; 0 where an earlier case had the same teacher
    assert [sum(of_store) for of_store in zip(*found["computed"], strict=True)] == num_computed


@pytest.mark.parametrize("case", [case for case in CASES if case[1]], ids=lambda case: case[0])
def test_one_process_and_two_compute_every_text_once(one, results, case):
    assert_each_text_was_computed_once(results["cases"][case], one[case])


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case[1]], ids=lambda case: case[0])
def test_four_processes_compute_every_text_once(one, four, case):
    assert_each_text_was_computed_once(four[case], one[case])


def test_a_cached_run_learns_what_a_live_one_does(results, one, tmp_path):
    spec = objectives_of(LABELLED, True)
    live = run_case(LABELLED, spec, tmp_path)
    assert_same_run(one[LABELLED, True], live)
    assert_same_run(results["cases"][LABELLED, True], live)


def test_a_teacher_that_is_shared_out_teaches_the_same(results, one):
    local, whole = results["sharded"]["held"]
    assert sum(local) < 0.51 * sum(whole)
    assert_same_run(results["sharded"], one[LABELLED, False])


def test_a_student_that_is_shared_out_has_the_gradient_of_a_whole_one(results, one):
    assert relative_difference(results["sharded"]["student's gradient"], one[LABELLED, False]["gradients"][0]) < 1e-5


def test_a_placed_teacher_teaches_a_data_parallel_student(results):
    (expected,) = results["16 rows, 8 x 1"]["gradients"]
    (gradient,) = results["placed"]
    assert relative_difference(gradient, expected) < 1e-5


def test_teachers_that_differ_between_the_processes_are_refused(results):
    assert "The teacher of process 1 differs from the teacher of process 0" in results["unequal"]


def test_every_process_gets_the_result_or_the_error_of_the_main_process(results):
    assert results["main_process"] == ["made by process 0", "refused by process 0"] * 2


def test_sigterm_to_one_process_stops_both_at_one_step_and_the_run_goes_on_bit_for_bit(results):
    stops = results["stops"]
    assert stops["statuses"] == [143, 143]
    assert stops["steps"] == 10  # the first at which they ask each other
    assert torch.equal(*stops["weights"])


def test_a_loss_that_is_no_number_on_one_process_stops_both_with_its_rows(results):
    first, second = results["stops"]["said"]
    assert first == second
    assert "is nan after step" in first
    assert " of the training dataset" in first


def test_only_the_first_process_writes_beside_its_random_state(results):
    first, second = results["written"]
    assert {"model.safetensors", "README.md", "checkpoint-4/trainer_state.json"} <= set(first)
    assert second == [f"checkpoint-{step}/rng_state_1.pth" for step in (1, 2, 3, 4)]


@pytest.mark.slow
def test_accelerate_launch_finds_the_same_and_a_process_that_dies_stops_the_other_one_with_its_error(
    results, tmp_path
):
    process, deadline = start(2, "distributed_worker.py", tmp_path), time.monotonic() + 240
    while not (tmp_path / "results.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    try:
        code = process.wait(60)
    finally:
        process.terminate()
    log = (tmp_path / "log").read_text()
    assert (tmp_path / "results.pt").exists(), log[-4000:]
    launched = torch.load(tmp_path / "results.pt", weights_only=False)
    assert launched.keys() == results.keys()
    for case in CASES:
        assert torch.equal(launched["cases"][case]["learnt"], results["cases"][case]["learnt"])
    assert code != 0
    assert "OSError: row 13 cannot be read" in log


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and `ip`")
def test_two_machines_learn_what_two_processes_of_one_do(results, tmp_path):
    root = Path(__file__).parents[2]
    script = root / "tests" / "support" / "process_counts.py"
    command = [str(root / "tools" / "two_nodes.sh"), str(script), str(tmp_path), "cases"]
    subprocess.run(command, env={**os.environ, "PYTHON": sys.executable}, timeout=280, check=True)
    found = torch.load(tmp_path / "counts.pt", weights_only=False)
    assert sorted(found["machines"]) == ["0", "1"]
    for case, on_two_machines in found["cases"].items():
        assert torch.equal(on_two_machines["learnt"], results["cases"][case]["learnt"])
        assert on_two_machines["computed"] == results["cases"][case]["computed"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_objective_alone_learns_the_same_in_four_processes(tmp_path):
    fork(4, lambda: run_and_save(tmp_path, "each"), tmp_path)
    expected = run_each(tmp_path)
    for case, found in torch.load(tmp_path / "counts.pt", weights_only=False)["each"].items():
        assert_same_run(found, expected[case])
