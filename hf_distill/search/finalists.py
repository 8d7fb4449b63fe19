"""Train the best candidates again with other seeds, and choose the winner by a bound that luck does not raise."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hf_distill.search.halving import ARCHITECTURE
from hf_distill.search.need import Numbers, bound_of, key_of, score, sign_of
from hf_distill.search.quality import ValidationRows
from hf_distill.search.storage import search_id
from hf_distill.search.trainings import Candidate
from hf_distill.search.trials import Trials
from hf_distill.utils.atomic import write_file_atomically

NUM_FINALISTS, NUM_SEEDS = 3, 3
CONFIDENCE_LEVEL = 0.95
_NUM_RESAMPLES = 200
_RESULT = "search_result.json"


@dataclass(frozen=True)
class Finalist:
    """A candidate that was trained with several seeds.

    Attributes:
        trial: Number of its trial.
        candidate: The candidate.
        folders: Folder of each run.
        seeds: Seed of each run.
        values: Numbers on the validation rows of each run, by name.
        margin: Mean margin over the seeds, of the requirement that is missed most.
        margin_bound: Lower confidence bound of the margin, see [`lower_bound`].
        score: What [`~hf_distill.search.need.score`] returns for this bound.
    """

    trial: int
    candidate: Candidate
    folders: Sequence[Path]
    seeds: Sequence[int]
    values: Sequence[Numbers]
    margin: float
    margin_bound: float
    score: float

    def best_run(self, metric: str) -> int:
        """Return the index of the run with the best value of a metric; it is the one that is shipped."""
        return int(np.argmax([sign_of(metric) * values[metric] for values in self.values]))


def describe_stage() -> str:
    """Return how many trainings the finalists take."""
    return f"up to {NUM_FINALISTS} finalists, {NUM_SEEDS} trainings each"


def train_finalists(trials: Trials, folder: Path) -> list[Finalist]:
    """Train the best candidates that meet the requirements with new seeds, and return them, the winner first.

    The seeds are not the seed of the trials, because the best of many trials owe their place to luck with it, too. A
    run that is already in the folder is not trained again. Once the bound of a finalist meets the requirements, more
    expensive ones cannot win, and are not trained.

    Args:
        trials: The finished trials.
        folder: Folder for the runs.
    """
    seeds = [trials.seed + i for i in range(1, NUM_SEEDS + 1)]
    finalists: list[Finalist] = []
    certain_rank = len(trials.architectures)
    for trial in trials.met()[:NUM_FINALISTS]:
        rank = trial.params[ARCHITECTURE]
        if rank > certain_rank:
            break
        candidate = trials.candidate(trial.params)
        folders = [folder / f"trial_{trial.number}" / f"seed_{seed}" for seed in seeds]
        logits = [_train(trials, candidate, seed, path) for seed, path in zip(seeds, folders, strict=True)]
        margin, bound = margin_and_bound(trials, logits)
        value = score(bound, rank, len(trials.architectures))
        certain_rank = rank if bound >= 0 else certain_rank
        values = [trials.rows.values(run) for run in logits]
        finalists.append(Finalist(trial.number, candidate, folders, seeds, values, margin, bound, value))
        name, metric = candidate.architecture.name, trials.rows.task.metric_name
        scores = ", ".join(f"{run[metric]:.4g}" for run in values)
        trials.say(f"Finalist, trial {trial.number}: {name}: {metric} {scores}; lower bound {bound:+.4f}")
    return sorted(finalists, key=lambda finalist: (-finalist.score, finalist.trial))


def _train(trials: Trials, candidate: Candidate, seed: int, folder: Path) -> np.ndarray:
    """Return the logits of a run on the validation rows; train it unless its folder is complete."""
    path, search = folder / _RESULT, search_id(trials.study)
    if path.is_file():
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["search"] == search and result["flags"] == _as_json(candidate.flags):
            return np.asarray(result["logits"], dtype=np.float32)
    shutil.rmtree(folder, ignore_errors=True)
    trainer = trials.trainings.train(candidate, seed, folder)
    logits = trials.trainings.logits(trainer, candidate, trials.rows.texts)
    trials.trainings.save(trainer, candidate)
    text = json.dumps({"search": search, "flags": candidate.flags, "logits": logits.tolist()})
    write_file_atomically(folder, _RESULT, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return logits


def _as_json(flags: Mapping[str, object]) -> object:
    return json.loads(json.dumps(flags))


def describe_certainty(margin: float, bound: float) -> str:
    """Return how certain it is that a finalist meets the requirements, as the end of a sentence about it."""
    if margin < 0:
        return f"misses the requirements with new seeds by {-margin:.4f}: its trial was lucky"
    if bound < 0:
        return "meets the requirements, but not with 95 % confidence: more validation rows would tell"
    return "meets the requirements with 95 % confidence"


def margin_and_bound(trials: Trials, logits: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the mean margin over the seeds and its lower confidence bound, see [`lower_bound`].

    Both are those of the requirement on quality for which they are lowest.

    Args:
        trials: Requirements, validation rows and teacher.
        logits: Logits on the validation rows of each seed, `(num_rows, num_labels)`.
    """
    margins = _margins(trials, logits, np.arange(len(trials.rows.labels)))
    bounds = [
        lower_bound(margins[:, i], _variance_of_rows(trials, i, logits)) for i in range(len(trials.need.quality))
    ]
    return float(margins.mean(axis=0).min()), min(bounds)


def _variance_of_rows(trials: Trials, index: int, logits: Sequence[np.ndarray]) -> float:
    """Return the variance of the mean margin of one requirement over resamples of the rows."""
    rows, requirement = trials.rows, trials.need.quality[index]
    scores = [rows.row_scores(key_of(requirement), run) for run in logits]
    by_row = [row_scores for row_scores in scores if row_scores is not None]
    if not by_row:
        draws = np.random.default_rng(0)
        resamples = [draws.integers(len(rows.labels), size=len(rows.labels)) for _ in range(_NUM_RESAMPLES)]
        means = [_margins(trials, logits, resample)[:, index].mean() for resample in resamples]
        return float(np.var(means, ddof=1))
    distances = np.mean(by_row, axis=0)
    if requirement.is_relative:
        teacher_scores = rows.row_scores(key_of(requirement), rows.teacher_logits)
        assert teacher_scores is not None
        distances = distances - requirement.factor * teacher_scores
    return float(distances.var() / len(distances))  # the mean of rows that are drawn with replacement


def lower_bound(margins: np.ndarray, variance_of_rows: float) -> float:
    r"""Return a one-sided 95 % lower confidence bound of the mean margin over seeds and rows.

    $$\bar d - t_{0.95, k - 1} \sqrt{s^2 / k + v}$$

    for k seeds with the margins d. Their standard deviation s is the luck of the seed, and v, the variance of the mean
    margin over bootstrap resamples of the rows (for a mean over rows, its limit for many resamples), is the luck of
    the rows. The two are independent, so their variances
    add up. Student's t because s comes from few seeds: Student (1908), https://doi.org/10.1093/biomet/6.1.1.

    Args:
        margins: Margin of each seed, `(num_seeds,)`.
        variance_of_rows: v.
    """
    from scipy.stats import t  # slow to import

    num_seeds = len(margins)
    error = np.sqrt(margins.var(ddof=1) / num_seeds + variance_of_rows)
    return float(margins.mean() - t.ppf(CONFIDENCE_LEVEL, num_seeds - 1) * error)


def _margins(trials: Trials, logits: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return `(num_seeds, num_requirements)`: the margins on some rows, with the teacher's numbers on these rows."""
    validation: ValidationRows = trials.rows
    with_classes = any(requirement.label is not None for requirement in trials.need.quality)
    teacher = validation.values(validation.teacher_logits, rows, with_classes)
    margins = []
    for run in logits:
        values = validation.values(run, rows, with_classes)
        signs = [1 if requirement.sign.startswith(">") else -1 for requirement in trials.need.quality]
        distances = [values[key_of(r)] - bound_of(r, teacher) for r in trials.need.quality]
        margins.append([sign * distance for sign, distance in zip(signs, distances, strict=True)])
    return np.array(margins)
