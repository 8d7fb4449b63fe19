"""One search from the inputs to the judged winner."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from hf_distill.cache.fingerprint import constant_weights, fingerprint, hash_json
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.data.table import counted
from hf_distill.pipeline.plan import Plan, Stage, describe_teacher
from hf_distill.record import describe_machine
from hf_distill.reporting.requirements import describe_result
from hf_distill.search import results
from hf_distill.search.architectures import (
    Architecture,
    describe_nearest,
    list_architectures,
    rank_by_cost,
    split_by_cost,
)
from hf_distill.search.finalists import Finalist, describe_certainty, describe_stage, train_finalists
from hf_distill.search.measuring import Costs, measure_costs
from hf_distill.search.need import MINIMIZED, Need
from hf_distill.search.page import render_page
from hf_distill.search.plots import save_plots
from hf_distill.search.quality import read_texts
from hf_distill.search.space import Space
from hf_distill.search.storage import alone, open_study, working
from hf_distill.search.trainings import Trainings
from hf_distill.search.trials import Trials
from hf_distill.training.labelled_rows import are_labelled
from hf_distill.training.row_hashes import hash_columns
from hf_distill.utils.stages import stage, titled_stages

logger = logging.getLogger(__name__)

MET, UNMET = 0, 3  # exit status
EVALUATIONS = 4  # of a trial, evenly spaced; the number that halving needs
_FEWEST_TO_TELL_APART = 30  # validation rows
# Flags that do not change what a search finds, or whose content is compared instead of their value.
_NOT_COMPARED = frozenset(
    "output_dir train_file validation_file test_file transfer_file data_dir dataset_name task_name disable_tqdm "
    "teacher_model_name_or_path teacher_revision teacher_cache_dir config".split()
)


@dataclass(frozen=True)
class SearchSettings:
    """What a search is asked for.

    Attributes:
        need: What the student must be able to do.
        space: What is searched.
        num_trials: Number of trials of all processes together.
        storage: URL of the storage.
        study_name: Name of the search in its storage.
        output_dir: Folder for the results.
        seed: Seed of sampler and trials.
        flags: The flags of `hf-distill train` that hold for all trials.
        halves: Whether trials are evaluated `EVALUATIONS` times, for halving.
        say: Prints a line on the progress.
        is_dry: Whether to stop after the plan.
    """

    need: Need
    space: Space
    num_trials: int
    storage: str
    study_name: str
    output_dir: Path
    seed: int
    flags: Mapping[str, Any]
    halves: bool
    say: Callable[[str], None]
    is_dry: bool = False


def run_search(settings: SearchSettings, trainings: Trainings) -> int:
    """Search, and return the exit status: 0 if the winner meets the requirements, 3 if no student does.

    Raises:
        ValueError: before the teacher runs, if the storage has another search, if there are too few rows, or if no
            student can be made.
    """
    _check_rows(settings, trainings)
    architectures = {architecture.name: architecture for architecture in list_architectures(settings.space)}
    plan = _plan(settings, trainings, len(architectures))
    settings.say(f"{settings.space}\n\n{plan}\n")
    if settings.is_dry:
        return MET
    # Weights of hundreds of megabytes, which every trial would hash again.
    with constant_weights(trainings.teacher), titled_stages(plan.titles):
        return _run(settings, trainings, architectures)


def _plan(settings: SearchSettings, trainings: Trainings, num_architectures: int) -> Plan:
    inputs, epochs = trainings.inputs, settings.space.dimensions.get("num_train_epochs")
    ends = [{}] if epochs is None else [{"num_train_epochs": epochs.lowest}, {"num_train_epochs": epochs.highest}]
    steps = " to ".join(f"{num_steps:,}" for num_steps in sorted({trainings.num_steps(flags) for flags in ends}))
    num_texts = len(inputs.train_dataset) + len(inputs.eval_dataset)
    stages = [
        Stage("measuring", f"cost of {num_architectures} architectures"),
        Stage("labels", f"teacher labels {num_texts:,} texts"),
        Stage("trials", f"{settings.num_trials} trials of {steps} steps"),
        Stage("finalists", describe_stage()),
    ]
    return Plan(describe_teacher(trainings.teacher), "", stages)


def _run(settings: SearchSettings, trainings: Trainings, architectures: dict[str, Architecture]) -> int:
    study = open_study(settings.storage, settings.study_name, _fingerprint(settings, trainings))
    start = time.perf_counter()
    texts = read_texts(trainings.inputs.task, trainings.inputs.task.validation_splits[0])
    costs = measure_costs(study, trainings, list(architectures.values()), texts, settings.output_dir, settings.say)
    ranked = _affordable(settings, costs)
    if not ranked:
        return UNMET
    seconds = {"measuring": time.perf_counter() - start}
    with stage("labels"):
        rows, seconds["teacher"] = trainings.label()
    trials = Trials(
        study=study,
        need=settings.need,
        space=settings.space,
        architectures=[architectures[name] for name in ranked],
        costs=costs.students,
        trainings=trainings,
        rows=rows,
        teacher={**costs.teacher, **rows.teacher_values()},
        folder=settings.output_dir / "trials",
        seed=settings.seed,
        say=settings.say,
    )
    return _search(settings, trials, seconds)


def _check_rows(settings: SearchSettings, trainings: Trainings) -> None:
    inputs = trainings.inputs
    if not any(are_labelled(inputs.eval_dataset, PROBLEM_TYPES[inputs.task.problem_type])):
        raise ValueError(
            f"None of the {len(inputs.eval_dataset):,} validation rows has a label, and a search compares students on "
            "labelled validation rows. Pass a --validation_file with labels."
        )
    if len(inputs.eval_dataset) < _FEWEST_TO_TELL_APART:
        logger.warning(f"Only {len(inputs.eval_dataset)} validation rows: they can hardly tell students apart.")
    epochs = settings.space.dimensions.get("num_train_epochs")
    num_steps = trainings.num_steps({} if epochs is None else {"num_train_epochs": epochs.lowest})
    if settings.halves and num_steps < EVALUATIONS:
        raise ValueError(
            f"The shortest trial takes {counted(num_steps, 'optimizer step')} on "
            f"{counted(len(inputs.train_dataset), 'row')}, and successive halving evaluates it {EVALUATIONS} times. "
            "Use more rows, more epochs or a smaller --per_device_train_batch_size, or pass --eval_strategy no to "
            "search without halving."
        )


def _affordable(settings: SearchSettings, costs: Costs) -> list[str]:
    """Return the names of the architectures that meet the requirements on cost, the cheapest first."""
    if settings.need.minimize == "latency" and describe_machine()["is_busy"]:
        logger.warning("The machine is busy, so the measured times are unreliable.")
    possible, misses = split_by_cost(costs.students, settings.need, costs.teacher)
    if not possible:
        settings.say(
            "No student of the space meets the requirements on cost. The nearest ones:\n"
            + describe_nearest(costs.students, misses, settings.need, costs.teacher)
        )
        return []
    settings.say(f"{len(possible)} of {len(costs.students)} architectures meet the requirements on cost.")
    return rank_by_cost({name: costs.students[name] for name in possible}, settings.need.minimize)


def _search(settings: SearchSettings, trials: Trials, seconds: dict[str, float]) -> int:
    with working(settings.output_dir) as worker:
        num_running = trials.run(settings.num_trials, worker)
    with contextlib.suppress(OSError):  # other processes still use it, or there was no trial
        trials.folder.rmdir()
    if num_running:
        settings.say(f"Other processes are still running {num_running} trials. The last one chooses the winner.")
        return MET
    with alone(settings.output_dir / ".workers" / "finalists.lock"):
        start = time.perf_counter()
        finalists = train_finalists(trials, settings.output_dir / "finalists")
        seconds["finalists"] = time.perf_counter() - start
        return _finish(settings, trials, finalists, seconds)


def _finish(settings: SearchSettings, trials: Trials, finalists: Sequence[Finalist], seconds: dict[str, float]) -> int:
    folder = settings.output_dir
    content = results.summarize(trials, seconds, list(finalists))
    results.write_table(content["trials"], folder)
    if not finalists:
        _write_summary(content, folder)
        settings.say(f"No student meets the requirements on quality. The nearest ones:\n{results.nearest(trials)}")
        return UNMET
    winner = finalists[0]
    before = results.read_summary(folder, content["search"])
    seed = winner.seeds[winner.best_run(trials.rows.task.metric_name)]
    content["winner"] = {"trial": winner.trial, "architecture": winner.candidate.architecture.name, "seed": seed}
    is_same = before.get("winner") == content["winner"]
    if not is_same:
        results.ship(winner, trials, settings.flags, folder)
        results.write_recipe(winner, {**settings.flags, "seed": seed}, folder)
    start = time.perf_counter()
    content["test"] = _judge(trials, folder, before["test"] if is_same else None)
    content["seconds"]["test"] = time.perf_counter() - start
    _write_summary(content, folder)
    settings.say(_describe_winner(winner, trials, settings.flags, folder))
    return max(_describe_test(settings, content["test"]), MET if winner.margin >= 0 else UNMET)


def _describe_test(settings: SearchSettings, test: Mapping[str, Any] | None) -> int:
    if test is None:
        settings.say("No test rows: the winner is not judged on rows that the search has not seen. Pass --test_file.")
        return MET
    for result in test["requirements"]:
        settings.say(f"On the test rows {describe_result(result)}")
    return MET if all(result["is_met"] for result in test["requirements"]) else UNMET


def _write_summary(content: dict[str, Any], folder: Path) -> None:
    results.write_text(folder, "search.json", results.to_json(content))
    results.write_text(folder, "search.html", render_page(content, save_plots(content, folder)))


def _judge(trials: Trials, folder: Path, before: dict[str, Any] | None) -> dict[str, Any] | None:
    """Judge the winner on the test rows, unless it was judged on the same rows before."""
    task, rows = trials.rows.task, trials.trainings.inputs.rows
    split = next((name for name in task.datasets if name.startswith("test")), None)
    if split is None or not any(are_labelled(rows[split], PROBLEM_TYPES[task.problem_type])):
        return None
    rows_hash = _hash_rows(rows[split])
    if before is not None and before["rows_hash"] == rows_hash:
        return before
    requirements = results.judge(trials, split, folder)
    return {"split": split, "rows": len(rows[split]), "rows_hash": rows_hash, "requirements": requirements}


def _describe_winner(winner: Finalist, trials: Trials, flags: Mapping[str, Any], folder: Path) -> str:
    cost = trials.costs[winner.candidate.architecture.name]
    certainty = describe_certainty(winner.margin, winner.margin_bound)
    named = MINIMIZED[trials.need.minimize]
    return (
        f"\nWinner: {winner.candidate.architecture.name}, trial {winner.trial} ({named} {cost[named]:.4g}). On the "
        f"validation rows it {certainty}.\n"
        f"The student is in {folder / results.STUDENT}, its export in {folder / results.EXPORT}. "
        f"`hf-distill train --config {folder / results.RECIPE}{results.trust_words(flags)}` trains it again."
    )


def _fingerprint(settings: SearchSettings, trainings: Trainings) -> dict[str, Any]:
    """Return what the results of a search depend on, by name."""
    inputs = trainings.inputs
    return {
        "requirements": [requirement.text for requirement in settings.need.requirements],
        "minimize": settings.need.minimize,
        "space": settings.space.to_dict(),
        "teacher": fingerprint(trainings.teacher, "float32")[0],
        "training rows": _hash_rows(inputs.train_dataset),
        "validation rows": _hash_rows(inputs.eval_dataset),
        "seed": settings.seed,
        "flags": {name: str(value) for name, value in settings.flags.items() if name not in _NOT_COMPARED},
    }


def _hash_rows(rows: Dataset) -> str:
    return hash_json(hash_columns(rows.select_columns(["input_ids", "labels"])))
