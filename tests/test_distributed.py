"""Two gloo processes on this machine, started by `accelerate launch`, against one process with the same rows."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_worker import INNER, train_inner
from invariance import make_trainer, reference_gradient, relative_difference, trained_gradients
from problems import PROBLEMS, make_problem
from tiny import tiny_dataset, tiny_model

from hf_distill import TeacherCache

pytestmark = pytest.mark.distributed


def launch(num_processes: int, script: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Start `accelerate launch` on the CPU; without `--multi_gpu` it would silently run a single process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        str(num_processes),
    ]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", str(port), str(script), *arguments]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    launch(2, Path(__file__).parent / "distributed_worker.py", str(folder))
    return torch.load(folder / "results-2.pt", weights_only=False)


@pytest.fixture(scope="module")
def models():
    return tiny_model(num_hidden_layers=2, seed=2), tiny_model(num_hidden_layers=4, seed=1)


def rows_of(tokenizer, num_rows):
    rows = tiny_dataset(tokenizer, num_rows, seed=3)
    return rows.map(lambda row, i: {"labels": -100 if i in (1, 9) else row["labels"]}, with_indices=True)


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


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_type_gives_the_gradient_and_the_evaluation_of_one_process(results, name):
    problem, found = make_problem(name, num_rows=10), results["problem types"][name]
    rows = [problem.rows.select(range(8)), problem.rows.select(range(8, 10))]
    assert len(found["gradients"]) == 2
    for gradient, part in zip(found["gradients"], rows, strict=True):
        assert relative_difference(gradient, problem.reference(part)[0]) < 1e-5
    _, soft, hard = problem.reference(problem.rows)
    assert found["evaluation"]["eval_loss_kl"] == pytest.approx(soft.item(), rel=1e-4)
    assert found["evaluation"]["eval_loss_ce"] == pytest.approx(hard.item(), rel=1e-4)


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
