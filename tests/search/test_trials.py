"""Trials without training: which are stopped, which win, and how several processes and runs share them."""

import shutil
import socket
import subprocess
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from datasets import Dataset, DatasetDict

from hf_distill.data import Task
from hf_distill.data.compute_metrics import as_compute_metrics
from hf_distill.search import finalists, storage
from hf_distill.search.architectures import Architecture, describe_nearest, rank_by_cost, split_by_cost
from hf_distill.search.finalists import describe_certainty, lower_bound, margin_and_bound
from hf_distill.search.halving import ARCHITECTURE, Halving
from hf_distill.search.need import make_need, score
from hf_distill.search.plots import front
from hf_distill.search.quality import ValidationRows
from hf_distill.search.results import importances
from hf_distill.search.space import Dimension, Space
from hf_distill.search.storage import fail_dead_trials, open_study, working
from hf_distill.search.trials import Trials

NUM_ROWS = 100
COSTS = {
    Architecture("float32", depth).name: {
        "latency_p50_ms": depth,
        "latency_p95_ms": 2 * depth,
        "flops": depth,
        "size_mb": depth,
    }
    for depth in (1, 2, 3)
}


def logits_with(num_right):
    """Logits of a model that answers the first rows of class 0 right."""
    return np.array([[1.0, 0.0]] * num_right + [[0.0, 1.0]] * (NUM_ROWS - num_right), dtype=np.float32)


class StubTrainings:
    """Students whose accuracy is known: 60 % and 10 points for each layer, less for a low learning rate."""

    def __init__(self, fails_at=None):
        self.seen, self.fails_at = [], fails_at

    def train(self, candidate, seed, folder, callbacks=()):
        self.seen.append(dict(candidate.settings))
        if len(self.seen) == self.fails_at:
            raise RuntimeError("the disk is full")
        for step in range(1, 5):
            metrics = {"eval_accuracy": self._num_right(candidate) / NUM_ROWS - 0.02 * (4 - step)}
            for callback in callbacks:
                callback.on_evaluate(None, SimpleNamespace(global_step=step, max_steps=4), None, metrics)

    def save(self, trainer, candidate):
        pass

    def logits(self, trainer, candidate, texts):
        return logits_with(self._num_right(candidate))

    @staticmethod
    def _num_right(candidate):
        return 60 + 10 * candidate.architecture.depth - round(20 * (0.01 - candidate.settings["learning_rate"]) / 0.01)


@pytest.fixture(scope="module")
def validation_rows():
    labels = np.zeros(NUM_ROWS, dtype=np.int64)
    rows = Dataset.from_dict({"text": ["a"] * NUM_ROWS, "label": labels})
    compute_metrics = as_compute_metrics("accuracy", "single_label_classification")
    task = Task(
        "stub", DatasetDict({"validation": rows}), ("text",), "single_label_classification", ["no", "yes"], "accuracy",
        compute_metrics, "stub",
    )  # fmt: skip
    return ValidationRows(task, ["a"] * NUM_ROWS, labels, logits_with(95))


def make_trials(folder, rows, trainings, url=None, seed=0):
    url = url or f"journal://{folder / 'study.log'}"
    return Trials(
        study=open_study(url, "search", {"space": "a"}),
        need=make_need(["accuracy >= 0.75 * teacher"], "latency"),
        space=Space({"learning_rate": Dimension(low=1e-4, high=1e-2, log=True)}),
        architectures=[Architecture("float32", depth) for depth in (1, 2, 3)],
        costs=COSTS,
        trainings=trainings,
        rows=rows,
        teacher=rows.teacher_values(),
        folder=folder / "trials",
        seed=seed,
        say=lambda line: None,
    )


def run(trials, folder, num_trials=8):
    with working(folder) as worker:
        return trials.run(num_trials, worker)


def params(trials):
    return [trial.params for trial in trials.finished()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, validation_rows):
    folder = tmp_path_factory.mktemp("uninterrupted")
    trials = make_trials(folder, validation_rows, StubTrainings())
    run(trials, folder)
    return trials


def test_below_the_requirements_quality_decides_and_above_them_cost():
    missed, worse = score(-0.01, 0, 3), score(-0.2, 0, 3)
    dear, cheap = score(5.0, 2, 3), score(0.0, 0, 3)
    assert worse < missed < 0 < dear < cheap
    assert score(0.1, 1, 3) < score(0.2, 1, 3) < score(0.0, 0, 3)


def test_the_best_trial_is_the_cheapest_that_meets_the_requirements(uninterrupted):
    best = uninterrupted.met()[0]
    assert best.user_attrs["values"]["accuracy"] >= 0.75 * 0.95
    others = [t for t in uninterrupted.met() if t.params[ARCHITECTURE] < best.params[ARCHITECTURE]]
    assert others == []


def test_the_same_seed_gives_the_same_trials(uninterrupted, tmp_path, validation_rows):
    again = make_trials(tmp_path, validation_rows, StubTrainings())
    run(again, tmp_path)
    assert params(again) == params(uninterrupted)
    other_seed = make_trials(tmp_path / "other", validation_rows, StubTrainings(), seed=1)
    run(other_seed, tmp_path / "other")
    assert params(other_seed) != params(uninterrupted)


def test_the_first_trials_are_each_kind_of_student_with_the_settings_of_the_recipes(uninterrupted):
    first = uninterrupted.finished()
    assert [trial.params[ARCHITECTURE] for trial in first[:3]] == [0, 1, 2]
    assert [trial.params["learning_rate"] for trial in first[:3]] == [1e-4] * 3
    assert 1e-4 not in [trial.params["learning_rate"] for trial in first[3:]]


def test_a_search_that_an_error_interrupted_continues_as_if_nothing_had_happened(
    uninterrupted, tmp_path, validation_rows
):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    broken = make_trials(tmp_path, validation_rows, StubTrainings(fails_at=4), url)
    with pytest.raises(RuntimeError, match="the disk is full"):
        run(broken, tmp_path)
    assert len(broken.finished()) == 3
    resumed = make_trials(tmp_path, validation_rows, StubTrainings(), url)
    run(resumed, tmp_path)
    assert params(resumed) == params(uninterrupted)
    assert len(resumed.trainings.seen) == 5


def test_a_trial_of_a_killed_process_is_repeated(uninterrupted, tmp_path, validation_rows):
    killed = make_trials(tmp_path, validation_rows, StubTrainings())
    with working(tmp_path) as worker:
        killed.run(2, worker)
        worker.claim(killed.study.ask())  # the process ends here: its lock is gone, its trial is still running
    resumed = make_trials(tmp_path, validation_rows, StubTrainings())
    assert run(resumed, tmp_path) == 0
    assert params(resumed) == params(uninterrupted)


def test_a_trial_of_a_living_process_counts_and_is_left_alone(tmp_path, validation_rows):
    first, second = (make_trials(tmp_path, validation_rows, StubTrainings()) for _ in range(2))
    with working(tmp_path) as worker:
        trial = first.study.ask()
        worker.claim(trial)
        assert run(second, tmp_path, num_trials=3) == 1
        assert fail_dead_trials(second.study) == 1
        first.study.tell(trial, -1.0)
    assert len(second.finished()) == 3


@pytest.fixture(params=["sqlite", "journal", "redis"])
def url(request, tmp_path):
    """URL of an empty storage of each kind."""
    if request.param != "redis":
        yield f"sqlite:///{tmp_path / 'study.db'}" if request.param == "sqlite" else f"journal://{tmp_path / 'log'}"
        return
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = ["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "Ready to accept connections" in line:
                break
        yield f"redis://127.0.0.1:{port}"
        process.terminate()


@pytest.mark.parametrize(("silence", "num_running"), [(240, 1), (301, 0)])
def test_a_trial_of_another_machine_is_repeated_after_five_minutes_of_silence(url, silence, num_running):
    study = open_study(url, "search", {})
    seen = time.time() - silence
    study.ask().set_user_attr("worker", {"host": "another machine", "lock": "/unknown", "seen": seen})
    assert fail_dead_trials(study) == num_running
    state = optuna.trial.TrialState.RUNNING if num_running else optuna.trial.TrialState.FAIL
    assert [trial.state for trial in study.get_trials()] == [state]


def test_a_running_trial_gives_signs_of_life(tmp_path, url, monkeypatch):
    monkeypatch.setattr(storage, "_HEARTBEAT", 0.01)
    study = open_study(url, "search", {})
    trial = study.ask()

    def seen():
        return study.get_trials()[0].user_attrs["worker"]["seen"]

    with working(tmp_path) as worker, worker.running(trial):
        first, deadline = seen(), time.time() + 10
        while seen() == first and time.time() < deadline:
            time.sleep(0.01)
        assert seen() > first
    last = seen()
    time.sleep(0.05)
    assert seen() == last  # it has ended


def test_two_workers_share_one_storage(tmp_path, validation_rows, url):
    both = [make_trials(tmp_path, validation_rows, StubTrainings(), url) for _ in range(2)]
    threads = [threading.Thread(target=run, args=(trials, tmp_path)) for trials in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finished = both[0].finished()
    assert 8 <= len(finished) <= 9  # both can take the last one
    assert sum(len(trials.trainings.seen) for trials in both) == len(finished)
    assert len({trial.number for trial in finished}) == len(finished)


def test_the_storage_of_another_search_is_refused_with_what_differs(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    open_study(url, "search", {"space": "a", "minimize": "size"})
    open_study(url, "search", {"space": "a", "minimize": "size"})
    with pytest.raises(ValueError, match=r"the name 'search': space was \"a\", now \"b\"\. Repeat"):
        open_study(url, "search", {"space": "b", "minimize": "size"})
    open_study(url, "another", {"space": "b", "minimize": "size"})


def test_a_study_that_no_search_made_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(storage=url, study_name="search").add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(ValueError, match="was not made by `hf-distill search`"):
        open_study(url, "search", {})


@pytest.mark.parametrize(
    "url",
    ["study.db", "sqlite:///FILE", "sqlite:///FILE/study.db", "journal://FILE", "journal://FILE/study.log"],
)
def test_what_is_not_a_storage_is_refused(tmp_path, url):
    file = tmp_path / "notes.txt"
    file.write_text("These are notes, and neither a database nor a journal.\n")
    with pytest.raises(ValueError, match="The storage cannot be opened .* Pass a database such as sqlite:///folder"):
        open_study(url.replace("FILE", str(file)), "search", {})


def test_a_redis_server_that_does_not_answer_is_refused_without_the_password():
    pytest.importorskip("redis")
    with pytest.raises(ValueError, match="The storage cannot be opened") as error:
        open_study("redis://:hunter2@127.0.0.1:1/0", "search", {})
    assert "hunter2" not in str(error.value)


def test_a_storage_that_cannot_be_opened_is_refused_without_its_password():
    hidden = "hunter2"
    with pytest.raises(ValueError, match="The storage cannot be opened") as error:
        open_study(f"nosuchdatabase://user:{hidden}@host/db", "search", {})
    assert hidden not in str(error.value)


def halving_study(values):
    """A study with one trial for each (architecture, value after the first evaluation)."""
    study = optuna.create_study(direction="maximize", pruner=Halving(["layers"] * 9 + ["static"]))
    distribution = {ARCHITECTURE: optuna.distributions.IntDistribution(0, 9)}
    for architecture, value in values:
        study.add_trial(
            optuna.trial.create_trial(
                params={ARCHITECTURE: architecture},
                distributions=distribution,
                value=value,
                intermediate_values={1: value},
            )
        )
    return study


@pytest.mark.parametrize(
    ("earlier", "own", "is_stopped"),
    [
        ([], (0, 0.1), False),
        ([(0, 0.5)], (0, 0.4), True),
        ([(0, 0.5)], (0, 0.5), False),  # a tie goes on
        ([(1, 0.5)], (0, 0.4), False),  # a more expensive student says nothing about a cheaper one
        ([(0, 0.5)], (1, 0.4), True),
        ([(0, 0.5)], (9, 0.4), False),  # students of different kinds do not compete
        ([(0, 0.1), (0, 0.2), (0, 0.5)], (0, 0.4), False),  # second of four
        ([(0, 0.1), (0, 0.45), (0, 0.5)], (0, 0.4), True),  # third of four
    ],
)
def test_a_trial_goes_on_if_it_is_in_the_better_half_of_those_not_more_expensive(earlier, own, is_stopped):
    study = halving_study(earlier)
    trial = study.ask({ARCHITECTURE: optuna.distributions.IntDistribution(own[0], own[0])})
    trial.report(own[1], 1)
    assert trial.should_prune() == is_stopped


def test_trials_that_all_have_the_same_result_have_no_importances():
    assert importances(halving_study([(0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5)])) == {}
    assert importances(halving_study([(0, 0.1), (1, 0.2), (2, 0.3), (3, 0.4)])) == {ARCHITECTURE: 1.0}


def test_halving_decides_after_evaluations_1_2_and_4_only():
    study = halving_study([(0, 0.5)])
    trial = study.ask({ARCHITECTURE: optuna.distributions.IntDistribution(0, 0)})
    trial.report(0.6, 1)
    trial.report(0.1, 3)
    assert not trial.should_prune()


def test_latencies_within_ten_percent_are_ranked_by_operations():
    costs = {
        "a": {"latency_p50_ms": 1.02, "flops": 20, "size_mb": 2},
        "b": {"latency_p50_ms": 1.0, "flops": 30, "size_mb": 1},
        "c": {"latency_p50_ms": 3.0, "flops": 1, "size_mb": 3},
    }
    assert rank_by_cost(costs, "latency") == ["a", "b", "c"]
    assert rank_by_cost(costs, "size") == ["b", "a", "c"]
    assert rank_by_cost(costs, "flops") == ["c", "a", "b"]


def test_architectures_that_miss_a_cost_are_removed_and_the_nearest_ones_named():
    need = make_need(["accuracy >= 0.5", "latency_p95_ms <= 0.1 * teacher", "size_mb < 3"], "latency")
    teacher = {"latency_p95_ms": 40.0}
    possible, misses = split_by_cost(COSTS, need, teacher)
    assert possible == ["1 layer, float32", "2 layers, float32"]
    assert misses == {"3 layers, float32": ["latency_p95_ms <= 0.1 * teacher: 6", "size_mb < 3: 3"]}
    need = make_need(["accuracy >= 0.5", "size_mb <= 0.5"], "size")
    lines = describe_nearest(COSTS, split_by_cost(COSTS, need, teacher)[1], need, teacher).splitlines()
    assert lines[0] == "  1 layer, float32: size_mb <= 0.5: 1"


def test_a_need_without_quality_is_refused():
    with pytest.raises(ValueError, match="No requirement on quality given"):
        make_need(["size_mb <= 20"], "latency")


def test_a_metric_that_the_task_lacks_is_refused(validation_rows):
    with pytest.raises(ValueError, match=r"`pearson >= 0.9`: a search for stub .* can judge accuracy, f1, matthews"):
        make_need(["pearson >= 0.9"], "size").check_task(validation_rows.task)
    with pytest.raises(ValueError, match="there is no class 'maybe'. The classes are no, yes"):
        make_need(["recall[maybe] >= 0.9"], "size").check_task(validation_rows.task)
    make_need(["recall[yes] >= 0.9", "agreement >= 0.9"], "size").check_task(validation_rows.task)


def test_the_lower_bound_is_the_one_computed_by_hand():
    # Mean 0.02, s^2 = 0.0001, s^2 / 3 + v = 0.0001 / 3 + 0.0002 / 3 = 0.0001, so the error is 0.01; t = 2.919986.
    bound = lower_bound(np.array([0.01, 0.02, 0.03]), 0.0002 / 3)
    assert bound == pytest.approx(0.02 - 2.919986 * 0.01, abs=1e-6)


def bound_of_students(folder, rows, requirement, logits):
    trials = replace(make_trials(folder, rows, StubTrainings()), need=make_need([requirement], "latency"))
    return margin_and_bound(trials, [logits] * 3)[1]


def test_the_variance_of_the_rows_is_binomial(tmp_path, validation_rows):
    """80 % accuracy on 100 rows against a constant: s = 0, v = 0.8 * 0.2 / 100 = 0.04^2."""
    bound = bound_of_students(tmp_path, validation_rows, "accuracy >= 0.7", logits_with(80))
    assert bound == pytest.approx(0.1 - 2.919986 * 0.04, abs=1e-6)


def test_rows_that_teacher_and_student_both_get_right_add_no_variance(tmp_path, validation_rows):
    """The teacher gets 95 rows right, the student 80 of these: 15 of 100 differences are -1, v = 0.15 * 0.85 / 100."""
    bound = bound_of_students(tmp_path, validation_rows, "accuracy >= teacher", logits_with(80))
    assert bound == pytest.approx(-0.15 - 2.919986 * (0.15 * 0.85 / 100) ** 0.5, abs=1e-6)


def test_a_score_that_is_no_mean_over_rows_is_resampled(tmp_path, validation_rows, monkeypatch):
    """All rows are of class `no`, so its recall is the accuracy."""
    monkeypatch.setattr(finalists, "_NUM_RESAMPLES", 60)
    bound = bound_of_students(tmp_path, validation_rows, "recall[no] >= 0.7", logits_with(80))
    assert bound == pytest.approx(0.1 - 2.919986 * 0.04, abs=0.03)


@pytest.mark.parametrize(("learning_rate", "num_trained"), [(0.01, 1), (0.001, 2)])  # 70, or 52 and 62 right
def test_students_that_cost_more_than_one_that_surely_meets_the_requirements_are_not_trained(
    tmp_path, validation_rows, learning_rate, num_trained
):
    trials = make_trials(tmp_path, validation_rows, StubTrainings())
    trials = replace(trials, need=make_need(["accuracy >= 0.5 * teacher"], "latency"))  # 48 right
    distributions = {
        ARCHITECTURE: optuna.distributions.IntDistribution(0, 2),
        "learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-2),
    }
    for depth in (1, 2, 3):
        params = {ARCHITECTURE: depth - 1, "learning_rate": learning_rate}
        value = score(0.1, depth - 1, 3)
        trials.study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    trained = finalists.train_finalists(trials, tmp_path / "finalists")
    assert len(trained) == num_trained
    assert [finalist.margin_bound >= 0 for finalist in trained] == [True, False][:num_trained]  # the winner first
    assert len(trials.trainings.seen) == 3 * num_trained


def test_a_winner_that_owes_its_place_to_luck_is_named():
    assert "with 95 % confidence" in describe_certainty(0.02, 0.001)
    assert "but not with 95 % confidence" in describe_certainty(0.02, -0.001)
    assert "misses the requirements with new seeds by 0.0100: its trial was lucky" in describe_certainty(-0.01, -0.05)


def test_the_values_of_a_class_and_the_agreement(validation_rows):
    values = validation_rows.values(logits_with(80))
    assert values["recall[no]"] == pytest.approx(0.8)
    assert values["precision[no]"] == 1.0
    assert values["agreement"] == pytest.approx(0.85)


def test_the_front_has_the_points_to_which_no_cheaper_one_is_better():
    assert front([(1, 0.5), (2, 0.4), (2, 0.7), (3, 0.7), (4, 0.9)]) == [(1, 0.5), (2, 0.7), (4, 0.9)]
    assert front([(1, 0.5), (2, 0.4), (3, 0.6)], sign=-1.0) == [(1, 0.5), (2, 0.4)]
