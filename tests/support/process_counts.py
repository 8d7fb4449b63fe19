"""What must not depend on the number of processes: every objective and problem type, live and cached.

`test_distributed.py` runs it in one process, and `run_and_save` in several.
"""

import gc
import os
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from invariance import GradientRecorder, make_trainer
from layer_references import SPECS, UNSET
from problems import PROBLEMS, Problem, make_problem
from tiny import tiny_dataset, tiny_model, tiny_tokenizer
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from hf_distill import DistillationTrainer
from hf_distill.classifiers.outputs import STORABLE_OUTPUTS
from hf_distill.objectives import OBJECTIVES

GLOBAL_BATCH, NUM_ROWS = 8, 10  # one full step, one of two rows, of which four processes have repeated ones alone
LABELLED = "single_label_classification"  # `dkd` needs the label of every row; two rows of the others have none
CASES = [(name, False) for name in PROBLEMS] + [
    (name, True) for name in (LABELLED, "multi_label_classification", "regression", "token_classification")
]


def make_case(name: str) -> Problem:
    problem = make_problem(name, NUM_ROWS)
    if name == LABELLED:
        problem.rows = tiny_dataset(tiny_tokenizer(), NUM_ROWS, seed=3)
    return problem


def objectives_of(name: str, is_cached: bool) -> dict:
    """All objectives that such a run can have and whose terms are of one unit each."""
    problem_type = name.removesuffix("_3")
    return {
        objective: SPECS.get(objective, {"weight": 1.0})
        for objective, cls in OBJECTIVES.items()
        if cls.is_per_unit
        and problem_type in cls.problem_types
        and (not cls.reads_labels or objective == "ce" or name == LABELLED)
        and (not is_cached or cls.teacher_reads <= STORABLE_OUTPUTS.keys())
    }


def weights_of(trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def run_case(name: str, objectives: dict, folder: Path, **changes) -> dict:
    """Train for two epochs, and return all that is seen of it."""
    problem, recorder = make_case(name), GradientRecorder()
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    trainer = make_trainer(
        problem.student, problem.teacher, problem.rows, tiny_tokenizer(), folder / "out", callbacks=[recorder],
        objectives=objectives, **UNSET, per_device_train_batch_size=GLOBAL_BATCH // num_processes, num_train_epochs=2,
        per_device_eval_batch_size=3, learning_rate=1e-3, **changes,
    )  # fmt: skip
    trainer.compute_metrics = lambda p: {"rows": float(len(p.label_ids))}
    start = weights_of(trainer)
    trainer.train()
    return {
        "gradients": recorder.gradients,
        "logs": [entry for entry in trainer.state.log_history if "loss" in entry],
        "evaluation": trainer.evaluate(),
        "learnt": weights_of(trainer) - start,
        "computed": gather_object([[cache.num_computed for cache in trainer.teaching.caches]]),  # by each process
    }


def run_cases(folder: Path) -> dict:
    """All objectives of a problem type together, each of which is logged on its own."""
    return {
        (name, is_cached): run_case(
            name, objectives_of(name, is_cached), folder, cache_teacher_outputs=is_cached,
            teacher_cache_dir=str(folder / "teachers"),
        )
        for name, is_cached in CASES
    }  # fmt: skip


def run_each(folder: Path) -> dict:
    """Every objective of every problem type alone, live: slow."""
    return {
        (name, objective): run_case(name, {objective: spec}, folder)
        for name in PROBLEMS
        for objective, spec in objectives_of(name, False).items()
    }


def run_sharded(folder: Path) -> dict:
    """A teacher that is shared out over the processes, beside a student that each has; then a student shared out too.

    The student's is done by hand, as accelerate does it on GPUs alone: the gradient of one step.
    """
    objectives, num_processes = objectives_of(LABELLED, False), int(os.environ["WORLD_SIZE"])
    results = run_case(LABELLED, objectives, folder, shard_teacher=True)
    problem = make_case(LABELLED)
    first = make_trainer(
        problem.student, problem.teacher, problem.rows, tiny_tokenizer(), folder / "out", objectives=objectives,
        **UNSET, shard_teacher=True, per_device_train_batch_size=GLOBAL_BATCH // num_processes,
    )  # fmt: skip
    parameters = list(first.teacher.model.parameters())
    results["held"] = [p.to_local().numel() for p in parameters], [p.numel() for p in parameters]
    trainer = DistillationTrainer(  # its teacher is shared out already
        problem.student, first.teacher.model, first.args, train_dataset=problem.rows, processing_class=tiny_tokenizer()
    )
    model, mesh = trainer.model, init_device_mesh("cpu", (num_processes,))
    for layer in model.bert.encoder.layer:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh).train()
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.compute_loss(model, trainer._prepare_inputs(batch), num_items_in_batch=GLOBAL_BATCH).backward()
    gradients = [p.grad.full_tensor().flatten().double() for p in model.parameters()]
    return {**results, "student's gradient": torch.cat(gradients)}


def written_by_each(folder: Path) -> list[list[str]]:
    """Let every process have an output folder of its own, and return what each wrote into it."""
    rank, num_processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    trainer = make_trainer(
        tiny_model(2, seed=2), tiny_model(4, seed=1), tiny_dataset(tiny_tokenizer(), 8), tiny_tokenizer(),
        folder / f"written-{rank}", per_device_train_batch_size=1, save_strategy="steps", save_steps=1,
        eval_strategy="epoch",
    )  # fmt: skip
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    trainer.accelerator.wait_for_everyone()
    folders = [folder / f"written-{i}" for i in range(num_processes)]
    return [sorted(str(path.relative_to(own)) for path in own.rglob("*.*")) for own in folders]


def run_and_save(folder: Path, what: str = "cases") -> None:
    """Run all cases; the first process saves what all find.

    Args:
        folder: Where `counts.pt` is saved.
        what: "cases" for the cases alone, "each" also for every objective alone.
    """
    runs = {"cases": run_cases(folder), "machines": gather_object([os.environ.get("GROUP_RANK")])}
    if what == "each":
        runs["each"] = run_each(folder)
    if os.environ["RANK"] == "0":
        torch.save(runs, folder / "counts.pt")
    PartialState().wait_for_everyone()
    os._exit(0)  # as in launching.py


if __name__ == "__main__":
    gc.freeze()  # every training collects garbage
    run_and_save(Path(sys.argv[1]), *sys.argv[2:])
