"""The trials of a search: draw a candidate, train it, judge it."""

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna import Study, Trial, TrialPruned
from optuna.trial import FrozenTrial, TrialState

from hf_distill.search.architectures import Architecture
from hf_distill.search.halving import ARCHITECTURE, Halving, ReportEvaluations, SeededByTrial
from hf_distill.search.need import Need, Numbers, key_of, score, show, sign_of, signed_distance
from hf_distill.search.quality import ValidationRows
from hf_distill.search.space import FLAGS, Dimension, Space
from hf_distill.search.starts import list_starts
from hf_distill.search.storage import Worker, fail_dead_trials
from hf_distill.search.trainings import Candidate, Trainings

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Trials:
    """What all trials of a search share.

    Attributes:
        study: The study.
        need: What the user needs.
        space: What is searched.
        architectures: The architectures that meet the requirements on cost, the cheapest first.
        costs: Name of an architecture -> what it costs.
        trainings: Trains students.
        rows: The validation rows.
        teacher: The teacher's numbers by name, costs included.
        folder: Folder for the files of running trials.
        seed: Seed of every training.
        say: Prints a line on the progress.
    """

    study: Study
    need: Need
    space: Space
    architectures: Sequence[Architecture]
    costs: Mapping[str, Numbers]
    trainings: Trainings
    rows: ValidationRows
    teacher: Numbers
    folder: Path
    seed: int
    say: Callable[[str], None]

    def run(self, num_trials: int, worker: Worker) -> int:
        """Run trials until the study has so many; those of other processes count.

        Returns:
            The number of trials that other processes are still running.
        """
        self.study.pruner = Halving([architecture.static_dim is None for architecture in self.architectures])
        self.study.sampler = SeededByTrial(self.seed, list_starts(self.architectures, self.space))
        while True:
            num_running = fail_dead_trials(self.study)
            if len(self.finished()) + num_running >= num_trials:
                return num_running
            self.study.optimize(lambda trial: self._run_alive(trial, worker), n_trials=1)

    def finished(self) -> list[FrozenTrial]:
        """Return the trials that were completed or stopped early, in the order of their numbers."""
        return self.study.get_trials(deepcopy=False, states=FINISHED)

    def met(self) -> list[FrozenTrial]:
        """Return the completed trials that meet the requirements, the best first."""
        completed = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return sorted((t for t in completed if (t.value or 0) > 0), key=lambda t: (-(t.value or 0), t.number))

    def candidate(self, params: Mapping[str, Any]) -> Candidate:
        """Return the candidate that the parameters of a trial stand for."""
        settings = {FLAGS[key]: value for key, value in params.items() if key in FLAGS}
        return Candidate(self.architectures[params[ARCHITECTURE]], params.get("layers"), settings)

    def _draw(self, trial: Trial) -> Candidate:
        architecture = self.architectures[trial.suggest_int(ARCHITECTURE, 0, len(self.architectures) - 1)]
        is_static, is_copy = architecture.static_dim is not None, architecture.depth is not None
        left_out = {"learning_rate" if is_static else "static_learning_rate", *([] if is_copy else ["layers"])}
        for key, dimension in self.space.dimensions.items():
            if (key in FLAGS or key == "layers") and key not in left_out:
                _suggest(trial, key, dimension)
        return self.candidate(trial.params)

    def _run_alive(self, trial: Trial, worker: Worker) -> float:
        with worker.running(trial):
            return self._run(trial)

    def _run(self, trial: Trial) -> float:
        start = time.perf_counter()
        candidate = self._draw(trial)
        callback = ReportEvaluations(trial, self._judge_evaluation)
        trial.set_user_attr("architecture", candidate.architecture.name)
        folder = self.folder / f"{trial.number}"
        line = "interrupted"
        try:
            value, line = self._train(trial, candidate, folder, callback)
            return value
        except TrialPruned as reason:
            line = f"stopped {reason}"
            known = self.rows.teacher_values().keys() & callback.metrics.keys()
            trial.set_user_attr("values", _finite({name: callback.metrics[name] for name in sorted(known)}))
            raise
        except FloatingPointError as error:  # a learning rate that is too high, for example
            line = f"stopped: {error}"
            raise TrialPruned(str(error)) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            seconds = time.perf_counter() - start
            trial.set_user_attr("seconds", seconds)
            self.say(f"Trial {trial.number}: {candidate.architecture.name}: {line} ({seconds:.0f} s)")

    def _train(
        self, trial: Trial, candidate: Candidate, folder: Path, callback: ReportEvaluations
    ) -> tuple[float, str]:
        trainer = self.trainings.train(candidate, self.seed, folder, [callback])
        values = self.rows.values(self.trainings.logits(trainer, candidate, self.rows.texts))
        trial.set_user_attr("values", _finite(values))
        margin = self.need.margin(values, self.teacher)
        numbers = ", ".join(f"{key} {show(values[key])}" for key in map(key_of, self.need.quality))
        line = f"{numbers}, {'met' if margin >= 0 else 'not met'}"
        return score(margin, trial.params[ARCHITECTURE], len(self.architectures)), line

    def _judge_evaluation(self, metrics: Mapping[str, float]) -> float:
        """Return by how much an evaluation misses the requirements; 0 if it meets them, so that cost decides then."""
        known = [requirement for requirement in self.need.quality if key_of(requirement) in metrics]
        if not known:  # the numbers of single classes are not part of an evaluation
            name = self.rows.task.metric_name
            return sign_of(name) * metrics[name]
        return min(0.0, *(signed_distance(requirement, metrics, self.teacher) for requirement in known))


def _suggest(trial: Trial, key: str, dimension: Dimension) -> None:
    if dimension.choices:
        trial.suggest_categorical(key, dimension.choices)
    else:
        trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)


def _finite(values: Numbers) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
