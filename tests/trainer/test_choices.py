"""The best checkpoint, the best trial and the loss of an evaluation are chosen by what they say."""

import optuna
import pytest
from invariance import accuracy, make_args
from tiny import copy_model, tiny_dataset, tiny_model
from transformers import TrainerCallback

from hf_distill import DistillationTrainer, DistillationTrainingArguments
from hf_distill.training.search_objective import SearchObjective

UNSET = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}


def search(student, teacher, rows, tokenizer, folder, space, compute_metrics=accuracy, direction=None, **changes):
    """Search a grid of one argument, and return the trainer, the best run and each trial's last evaluation."""
    (name, values), evaluations = next(iter(space.items())), []
    args = make_args(folder, eval_strategy="epoch", num_train_epochs=4, optim="adamw_torch", **changes)
    trainer = DistillationTrainer(
        model_init=lambda trial=None: copy_model(student), teacher_model=teacher, args=args, train_dataset=rows,
        eval_dataset=rows, processing_class=tokenizer, compute_metrics=compute_metrics,
    )  # fmt: skip

    class Spy(TrainerCallback):
        def on_train_end(self, args, state, control, **kwargs):
            evaluations.append([entry for entry in state.log_history if "eval_loss" in entry][-1])

    trainer.add_callback(Spy())
    direction = {} if direction is None else {"direction": direction}
    best = trainer.hyperparameter_search(
        hp_space=lambda trial: {name: trial.suggest_categorical(name, values)}, n_trials=len(values),
        backend="optuna", sampler=optuna.samplers.GridSampler({name: values}), **direction,
    )  # fmt: skip
    return trainer, best, evaluations


@pytest.fixture(scope="module")
def task(tokenizer):
    """Rows that a student can learn, and a teacher that knows them by heart."""
    rows = tiny_dataset(tokenizer, 64, seed=5)
    teacher = tiny_model(2, seed=1)
    DistillationTrainer(
        teacher,
        args=make_args(
            "/tmp", max_steps=60, optim="adamw_torch", learning_rate=1e-2, report_to="none", **UNSET,
            objectives={"ce": 1.0}, disable_tqdm=True,
        ),
        train_dataset=rows, processing_class=tokenizer,
    ).train()  # fmt: skip
    return tiny_model(2, seed=2), teacher, rows


def test_the_trained_student_wins_the_search_and_not_the_untrained_one(task, tokenizer, tmp_path):
    _, best, evaluations = search(*task, tokenizer, tmp_path, {"learning_rate": [1e-9, 1e-2]})
    scores = [entry["eval_accuracy"] for entry in evaluations]
    assert max(scores) > min(scores) + 0.1
    assert best.objective == pytest.approx(max(scores))
    assert best.hyperparameters["learning_rate"] == 1e-2


def test_without_metrics_the_lowest_loss_wins(task, tokenizer, tmp_path):
    _, best, evaluations = search(*task, tokenizer, tmp_path, {"learning_rate": [1e-9, 1e-2]}, compute_metrics=None)
    assert best.objective == pytest.approx(min(entry["eval_loss"] for entry in evaluations))
    assert best.hyperparameters["learning_rate"] == 1e-2


@pytest.mark.parametrize(("compute_metrics", "direction"), [(accuracy, "minimize"), (None, "maximize")])
def test_a_direction_against_the_default_objective_is_refused(task, tokenizer, tmp_path, compute_metrics, direction):
    with pytest.raises(ValueError, match=f"`direction` is '{direction}'.*Remove `direction`"):
        search(*task, tokenizer, tmp_path, {"learning_rate": [1e-3]}, compute_metrics, direction)


def test_losses_at_different_temperatures_are_not_compared(task, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="changes temperature, so the losses of its trials do not compare"):
        search(*task, tokenizer, tmp_path, {"temperature": [1.0, 4.0]}, compute_metrics=None)


def test_temperatures_are_compared_by_metrics(task, tokenizer, tmp_path):
    _, best, evaluations = search(*task, tokenizer, tmp_path, {"temperature": [1.0, 4.0]}, learning_rate=1e-2)
    assert best.objective == pytest.approx(max(entry["eval_accuracy"] for entry in evaluations))


def test_a_searched_argument_that_objectives_replace_is_refused(task, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="sets temperature, which `objectives` replaces"):
        search(*task, tokenizer, tmp_path, {"temperature": [1.0, 4.0]}, **UNSET, objectives={"kl": 1.0})


def test_a_metric_of_errors_is_not_maximized(task, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="Lower values of eval_rmse are better"):
        search(*task, tokenizer, tmp_path, {"learning_rate": [1e-3]}, lambda prediction: {"rmse": 1.0})


def test_several_evaluation_sets_are_added_up():
    objective = SearchObjective(has_metrics=True)
    for name in ("a", "b"):
        objective.note(f"eval_{name}", {f"eval_{name}_loss": 1.0, f"eval_{name}_f1": 0.5, f"eval_{name}_jit_time": 9})
    metrics = {"eval_a_f1": 0.25, "eval_b_f1": 0.5, "eval_a_agreement": 1.0, "eval_a_loss": 7.0, "epoch": 3.0}
    assert objective(metrics) == 0.75


@pytest.mark.parametrize("metric", ["loss_kl", "eval_loss_ce", "eval_test_loss_kl", "eval_test_loss", "loss", "rmse"])
def test_lower_is_better_for_every_loss(tmp_path, metric):
    args = DistillationTrainingArguments(str(tmp_path), metric_for_best_model=metric, use_cpu=True)
    assert args.greater_is_better is False


@pytest.mark.parametrize("metric", ["accuracy", "eval_agreement", "lossless_share", "eval_test_f1", "mean_average"])
def test_higher_is_better_for_scores(tmp_path, metric):
    args = DistillationTrainingArguments(str(tmp_path), metric_for_best_model=metric, use_cpu=True)
    assert args.greater_is_better is True


def test_what_the_user_says_of_a_metric_is_kept(tmp_path):
    args = DistillationTrainingArguments(
        str(tmp_path), metric_for_best_model="loss_kl", greater_is_better=True, use_cpu=True
    )
    assert args.greater_is_better is True


def test_the_best_checkpoint_by_a_term_of_the_loss_is_the_lowest(task, tokenizer, tmp_path):
    student, teacher, rows = task
    trainer = DistillationTrainer(
        copy_model(student), teacher,
        make_args(
            tmp_path, num_train_epochs=4, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True,
            metric_for_best_model="loss_kl", learning_rate=1e-2, optim="adamw_torch",
        ),
        train_dataset=rows, eval_dataset=rows, processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    values = [entry["eval_loss_kl"] for entry in trainer.state.log_history if "eval_loss_kl" in entry]
    assert trainer.state.best_metric == min(values) < max(values)
    assert trainer.evaluate()["eval_loss_kl"] == pytest.approx(min(values))


def test_evaluations_under_a_schedule_are_one_quantity(task, tokenizer, tmp_path):
    student, teacher, rows = task
    fall = {"schedule": "linear", "start": 2.0, "end": 0.0}
    heat = {"weight": 1.0, "temperature": {"schedule": "linear", "start": 8.0, "end": 1.0}}
    trainer = DistillationTrainer(
        copy_model(student), teacher,
        make_args(
            tmp_path, **UNSET, objectives={"ce": {"weight": fall}, "kl": heat}, num_train_epochs=3,
            eval_strategy="epoch",
            learning_rate=0.0,
        ),
        train_dataset=rows, eval_dataset=rows, processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    evaluations = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(evaluations) == 3
    for entry in evaluations[1:]:  # nothing was learned, so nothing changes
        for name in ("eval_loss", "eval_loss_kl", "eval_loss_ce"):
            assert entry[name] == pytest.approx(evaluations[0][name])
    assert evaluations[0]["eval_loss"] == pytest.approx(evaluations[0]["eval_loss_kl"])  # the weight of ce ends at 0
    steps = [entry["kl_temperature"] for entry in trainer.state.log_history if "loss" in entry]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] == 8.0 > steps[-1] > 1.0  # training logs its own values, whatever was evaluated in between
