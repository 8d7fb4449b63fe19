"""Projections: trained with the student, exact however rows are split, resumed bit for bit, and never published."""

import copy

import pytest
import torch
from invariance import make_args, make_trainer, relative_difference
from tiny import tiny_model
from transformers import AutoModelForSequenceClassification, TrainerCallback

from hf_distill import DistillationTrainer
from hf_distill.training.loss import OBJECTIVES_NAME

UNSET = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}
SPEC = {"kl": 1.0, "hidden_mse": 1.0, "pkd": {"layer_mapping": "last"}}


@pytest.fixture(scope="module")
def pair():
    """A narrow student and its teacher."""
    return tiny_model(2, hidden_size=8, seed=2), tiny_model(4, seed=1)


class ProjectionRecorder(TrainerCallback):
    """Keeps the projections' gradient at every step."""

    def __init__(self):
        self.gradients, self.loss = [], None

    def on_pre_optimizer_step(self, *args, **kwargs):
        self.gradients.append(torch.cat([p.grad.flatten().double() for p in self.loss.parameters()]))


def train(pair, rows, tokenizer, folder, **changes):
    recorder = ProjectionRecorder()
    settings = {**UNSET, "objectives": SPEC, **changes}
    trainer = make_trainer(*pair, rows, tokenizer, folder, callbacks=[recorder], **settings)
    recorder.loss = trainer.distillation_loss
    trainer.train()
    return trainer, recorder.gradients


def parameters_of(trainer):
    return [*trainer.model.parameters(), *trainer.distillation_loss.parameters()]


def test_there_is_a_projection_only_where_widths_differ(pair, models, rows, tokenizer, tmp_path):
    wide, narrow = (
        make_trainer(*both, rows, tokenizer, tmp_path, objectives=SPEC, **UNSET).distillation_loss
        for both in (models, pair)
    )
    assert not list(wide.parameters())
    assert {name: tuple(p.shape) for name, p in narrow.named_parameters()} == {
        "objectives.1.project.weight": (16, 8), "objectives.2.project.weight": (16, 8),
    }  # fmt: skip


def test_the_gradient_of_a_projection_is_the_references_however_the_rows_are_split(pair, rows, tokenizer, tmp_path):
    spec = {"hidden_mse": {"layer_mapping": {1: 2}}}
    found = []
    for batch_size, accumulation in ((16, 1), (4, 4), (6, 3)):
        trainer = make_trainer(*pair, rows, tokenizer, tmp_path, objectives=spec, **UNSET)
        weight = trainer.distillation_loss.objectives[0].project.weight.detach().double().requires_grad_()
        _, (gradient,) = train(
            pair, rows, tokenizer, tmp_path, objectives=spec, per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
        )  # fmt: skip
        found.append(gradient)
    student, teacher = (copy.deepcopy(model).double() for model in pair)
    total = torch.zeros(())
    for row in rows:
        inputs = {name: torch.tensor([row[name]]) for name in ("input_ids", "token_type_ids")}
        ours, theirs = (model(**inputs, output_hidden_states=True).hidden_states for model in (student, teacher))
        total = total + ((ours[1].detach() @ weight.T - theirs[2].detach()) ** 2).mean() / len(rows)
    total.backward()
    for gradient in found:
        assert relative_difference(gradient, weight.grad.flatten()) < 1e-5


def test_gradients_do_not_accumulate_over_steps(pair, rows, tokenizer, tmp_path):
    _, gradients = train(pair, rows, tokenizer, tmp_path, num_train_epochs=3, learning_rate=0.0)
    assert len(gradients) == 3
    for gradient in gradients[1:]:
        assert relative_difference(gradient, gradients[0]) < 1e-6


def test_projections_move_in_a_group_of_their_own_without_decay(pair, rows, tokenizer, tmp_path):
    trainer, _ = train(pair, rows, tokenizer, tmp_path, optim="adamw_torch", weight_decay=0.1, num_train_epochs=2)
    group = trainer.optimizer.param_groups[-1]
    assert [id(p) for p in group["params"]] == [id(p) for p in trainer.distillation_loss.parameters()]
    assert (group["weight_decay"], group["lr"]) == (0.0, 0.1)
    untrained = make_trainer(*pair, rows, tokenizer, tmp_path, objectives=SPEC, **UNSET).distillation_loss
    for before, after in zip(untrained.parameters(), trainer.distillation_loss.parameters(), strict=True):
        assert not torch.equal(before, after)
    trainer.train()  # a second call must not add a second parameter group
    assert len(trainer.optimizer.param_groups) == 3


def test_projections_join_an_optimiser_that_is_passed_and_no_schedule(pair, rows, tokenizer, tmp_path):
    args = make_trainer(*pair, rows, tokenizer, tmp_path, objectives=SPEC, **UNSET).args
    student = copy.deepcopy(pair[0])
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    common = {"train_dataset": rows, "processing_class": tokenizer}
    trainer = DistillationTrainer(student, pair[1], args, **common, optimizers=(optimizer, None))
    before = [p.detach().clone() for p in trainer.distillation_loss.parameters()]
    trainer.train()
    for a, b in zip(before, trainer.distillation_loss.parameters(), strict=True):
        assert not torch.equal(a, b)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    with pytest.raises(ValueError, match=r"already has a schedule. Pass `optimizers=\(optimizer, None\)`"):
        DistillationTrainer(student, pair[1], args, **common, optimizers=(optimizer, schedule))


def test_projections_are_clipped_on_their_own(pair, rows, tokenizer, tmp_path):
    norms = {}

    class Spy(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            for name, module in (("student", model), ("projections", trainer.distillation_loss)):
                norms[name] = torch.cat([p.grad.flatten() for p in module.parameters()]).norm().item()

    trainer = make_trainer(*pair, rows, tokenizer, tmp_path, objectives=SPEC, **UNSET, max_grad_norm=1e-2)
    trainer.add_callback(Spy())  # runs after the library's own callback
    trainer.train()
    assert norms == {"student": pytest.approx(1e-2, rel=1e-3), "projections": pytest.approx(1e-2, rel=1e-3)}


def test_resuming_with_projections_is_bit_identical(pair, dataset, tokenizer, tmp_path):
    student = copy.deepcopy(pair[0])
    for module in student.modules():  # dropout, so that the random state matters
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    settings = {
        "optim": "adamw_torch", "learning_rate": 1e-2, "per_device_train_batch_size": 4, "num_train_epochs": 2,
        "save_steps": 5, "save_strategy": "steps", "train_sampling_strategy": "random",
        "gradient_accumulation_steps": 2, "max_grad_norm": 1.0,
    }  # fmt: skip
    whole, _ = train((student, pair[1]), dataset, tokenizer, tmp_path, **settings)
    resumed = make_trainer(student, pair[1], dataset, tokenizer, tmp_path, objectives=SPEC, **UNSET, **settings)
    for parameter in resumed.distillation_loss.parameters():
        torch.nn.init.zeros_(parameter)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    for a, b in zip(parameters_of(whole), parameters_of(resumed), strict=True):
        assert torch.equal(a, b)


def test_the_saved_student_is_a_plain_model_without_projections(pair, rows, tokenizer, tmp_path):
    trainer, _ = train(
        pair, rows, tokenizer, tmp_path, per_device_train_batch_size=8, save_strategy="steps", save_steps=1
    )
    trainer.save_model()
    assert not (tmp_path / OBJECTIVES_NAME).exists()
    assert (tmp_path / "checkpoint-2" / OBJECTIVES_NAME).exists()
    for folder in (tmp_path, tmp_path / "checkpoint-2"):
        loaded, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
        assert not any(info.values())
        assert loaded.state_dict().keys() == pair[0].state_dict().keys()
        for name, parameter in loaded.named_parameters():
            assert torch.equal(parameter, trainer.model.get_parameter(name))


def test_a_checkpoint_is_pushed_without_projections(pair, rows, tokenizer, tmp_path):
    trainer, _ = train(pair, rows, tokenizer, tmp_path, save_strategy="steps", save_steps=1)
    checkpoint, pushed = tmp_path / "checkpoint-1", tmp_path / "pushed"
    pushed.mkdir()
    trainer.args.output_dir = str(pushed)
    trainer.push_in_progress, trainer.publisher.upload = None, lambda *args: None
    trainer._push_from_checkpoint(str(checkpoint))
    assert (checkpoint / OBJECTIVES_NAME).exists()
    assert "model.safetensors" in {path.name for path in pushed.iterdir()}
    assert OBJECTIVES_NAME not in {path.name for path in pushed.iterdir()}


@pytest.mark.parametrize("save_only_model", [False, True])
def test_the_best_checkpoint_brings_its_projections_back(pair, dataset, tokenizer, tmp_path, save_only_model):
    trainer, _ = train(
        pair, dataset, tokenizer, tmp_path, num_train_epochs=3, eval_strategy="epoch", save_strategy="epoch",
        load_best_model_at_end=True, metric_for_best_model="loss", greater_is_better=True,
        save_only_model=save_only_model,
    )  # fmt: skip
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert max(losses) != losses[-1]
    assert trainer.evaluate()["eval_loss"] == pytest.approx(max(losses))


def test_a_checkpoint_without_projections_is_refused(pair, rows, tokenizer, tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 1, "per_device_train_batch_size": 8}
    make_trainer(*pair, rows, tokenizer, tmp_path, objectives={"kl": 1.0}, **UNSET, **settings).train()
    trainer = make_trainer(*pair, rows, tokenizer, tmp_path, objectives=SPEC, **UNSET, **settings)
    with pytest.raises(ValueError, match="checkpoint-1 belongs to another run; what differs is the objectives"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))


def test_every_trial_of_a_search_starts_with_projections_of_its_own(pair, dataset, tokenizer, tmp_path):
    seen, started = [], []

    class Spy(TrainerCallback):
        def on_train_end(self, *args, **kwargs):
            optimised = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
            seen.append([(p.clone(), id(p) in optimised) for p in trainer.distillation_loss.parameters()])

        def on_train_begin(self, *args, **kwargs):
            started.append([p.detach().clone() for p in trainer.distillation_loss.parameters()])

    args = make_trainer(*pair, dataset, tokenizer, tmp_path, objectives=SPEC, **UNSET, max_steps=1).args
    trainer = DistillationTrainer(
        model_init=lambda trial=None: copy.deepcopy(pair[0]), teacher_model=pair[1], args=args,
        train_dataset=dataset, eval_dataset=dataset, processing_class=tokenizer, callbacks=[Spy()],
    )  # fmt: skip
    trainer.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2)},
        n_trials=2, direction="minimize", backend="optuna",
    )  # fmt: skip
    assert [len(parameters) for parameters in seen] == [2, 2]
    assert all(is_optimised for parameters in seen for _, is_optimised in parameters)
    for first, second, (trained, _) in zip(*started, seen[0], strict=True):
        assert torch.equal(first, second)
        assert not torch.equal(first, trained)


def test_mixed_precision_trains_projections_too(pair, rows, tokenizer, tmp_path):
    _, (plain,) = train(pair, rows, tokenizer, tmp_path)
    _, (mixed,) = train(pair, rows, tokenizer, tmp_path, bf16=True)
    assert relative_difference(mixed, plain) < 5e-2


def test_a_search_with_model_init_trains_new_projections_in_every_trial(pair, rows, tokenizer, tmp_path):
    student, teacher = pair
    seen = []

    class Spy(TrainerCallback):
        def on_train_begin(self, args, state, control, model=None, optimizer=None, **kwargs):
            trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            projections = list(trainer.distillation_loss.parameters())
            seen.append((args.learning_rate, trained >= set(map(id, projections)), projections[0].detach().clone()))

        def on_train_end(self, args, state, control, **kwargs):
            moved = not torch.equal(seen[-1][2], next(trainer.distillation_loss.parameters()))
            seen[-1] = (*seen[-1], moved)

    trainer = DistillationTrainer(
        model_init=lambda trial=None: copy.deepcopy(student), teacher_model=teacher,
        args=make_args(tmp_path, **UNSET, objectives={"kl": 1.0, "hidden_mse": 1.0}, max_steps=1),
        train_dataset=rows, eval_dataset=rows, processing_class=tokenizer, callbacks=[Spy()],
    )  # fmt: skip
    trainer.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 0.01, 0.1)},
        compute_objective=lambda metrics: metrics["eval_loss"], n_trials=2, direction="minimize", backend="optuna",
    )  # fmt: skip
    assert len({rate for rate, *_ in seen}) == 2
    assert all(is_trained and moved for _, is_trained, _, moved in seen)
    assert torch.equal(seen[0][2], seen[1][2])  # each trial starts from the same projections
