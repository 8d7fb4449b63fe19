"""Stop poor trials early, and draw the settings of a trial so that a search can be repeated and resumed."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study, Trial, TrialPruned
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

ARCHITECTURE = "architecture"  # the parameter of a trial: index of its architecture, the cheapest first


class Halving(BasePruner):
    """Asynchronous successive halving, in which a trial competes only with trials of its kind that cost no more.

    A trial goes on after its 1st, 2nd, 4th, 8th ... evaluation if it is in the better half of the trials that have
    reached this evaluation: Li et al. (2020), algorithm 2 with a reduction factor of 2,
    https://proceedings.mlsys.org/paper_files/paper/2020/hash/a06f20b349c6cf09a6b171c71b88bbfc-Abstract.html. A more
    expensive student that is better says nothing about whether a cheaper one will be good enough, so it does not
    count. Nor does one of another kind: static students are near their end after a quarter of the training, when
    students with layers have just begun.

    Args:
        kinds: The kind of each architecture, the cheapest architecture first.
    """

    def __init__(self, kinds: Sequence[object]) -> None:
        self._kinds = kinds

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether to stop a trial."""
        step = trial.last_step
        if step is None or step & (step - 1):  # no power of 2
            return False
        own = trial.params[ARCHITECTURE]
        competing = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
            and other.state != TrialState.FAIL
            and step in other.intermediate_values
            and other.params[ARCHITECTURE] <= own
            and self._kinds[other.params[ARCHITECTURE]] == self._kinds[own]
        ]
        value = trial.intermediate_values[step]
        ordered = sorted([*competing, value], reverse=True)
        return value < ordered[max(1, len(ordered) // 2) - 1]


class SeededByTrial(BaseSampler):
    """TPE whose random numbers depend on a seed and on how many trials came before, failed ones not counted.

    So a search that is interrupted and resumed draws the settings that it would have drawn without the interruption.

    Args:
        seed: The seed.
        starts: The parameters of the first trials, which are not drawn.
    """

    def __init__(self, seed: int, starts: Sequence[Mapping[str, Any]] = ()) -> None:
        self._seed, self._starts = seed, starts
        self._start: Mapping[str, Any] = {}
        self._sampler = self._make(0)

    def _make(self, number: int) -> TPESampler:
        seed = int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `multivariate` is experimental in Optuna 4 and the default in Optuna 5
            return TPESampler(seed=seed, multivariate=True, warn_independent_sampling=False)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the sampler of this trial."""
        earlier = study.get_trials(deepcopy=False)
        number = sum(t.number < trial.number and t.state != TrialState.FAIL for t in earlier)
        self._start = self._starts[number] if number < len(self._starts) else {}
        self._sampler = self._make(number)
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """See [`optuna.samplers.BaseSampler`]."""
        return {} if self._start else self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See [`optuna.samplers.BaseSampler`]."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See [`optuna.samplers.BaseSampler`]."""
        if param_name in self._start:
            return self._start[param_name]
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """See [`optuna.samplers.BaseSampler`]."""
        self._sampler.after_trial(study, trial, state, values)


class ReportEvaluations(TrainerCallback):
    """Reports every evaluation but the last to a trial, and ends the training if the trial is stopped.

    Args:
        trial: The trial.
        judge: From the metrics of an evaluation to the number by which trials are compared; higher is better.

    Attributes:
        metrics: The metrics of the last evaluation that was reported, without the prefix `eval_`.
    """

    def __init__(self, trial: Trial, judge: Callable[[Mapping[str, float]], float]) -> None:
        self._trial, self._judge, self._count = trial, judge, 0
        self.metrics: dict[str, float] = {}

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Report the evaluation.

        Raises:
            TrialPruned: if the trial is stopped.
        """
        if state.global_step >= state.max_steps:  # stopping would save nothing
            return
        self._count += 1
        self.metrics = {name.removeprefix("eval_"): value for name, value in (metrics or {}).items()}
        self._trial.report(self._judge(self.metrics), self._count)
        if self._trial.should_prune():
            raise TrialPruned(f"after step {state.global_step} of {state.max_steps}")
