"""Ensembles: their mean prediction, with different label orders, caches and weights."""

import copy

import pytest
import torch
from invariance import make_args, make_trainer
from problems import make_problem
from tiny import tiny_dataset, tiny_model, tiny_tokenizer
from torch.nn import functional as F

from hf_distill import DistillationTrainer, TeacherEnsemble, functional

WEIGHTS = [0.6, 0.3, 0.1]


def teachers(**config):
    return [tiny_model(layers, seed=seed, **config) for layers, seed in ((4, 1), (3, 5), (2, 9))]


def permuted(model, order):
    """The same classifier with its classes in another order."""
    model = copy.deepcopy(model)
    names = [model.config.id2label[i] for i in order]
    model.classifier.weight.data, model.classifier.bias.data = (
        model.classifier.weight.data[order],
        model.classifier.bias.data[order],
    )
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    return model


def logits_by_hand(models, rows, tokenizer):
    batch = tokenizer.pad([{k: r[k] for k in tokenizer.model_input_names} for r in rows], return_tensors="pt")
    with torch.no_grad():
        return [model(**batch).logits for model in models]


def logits_of(trainer, rows):
    """The logits of the Trainer's teacher."""
    loader = trainer.get_eval_dataloader(rows)
    return torch.cat([trainer.teacher(batch).logits for batch in loader])


def kl(p_logits, q_logits, temperature):
    p, q = (F.log_softmax(z / temperature, dim=-1) for z in (p_logits, q_logits))
    return temperature**2 * (p.exp() * (p - q)).sum(-1).mean().item()


# ---- Values ----


def test_the_mean_of_probabilities_by_hand():
    logits = torch.tensor([[[3.0, 1.0]], [[1.0, 1.0]]]).log()  # 3/4 and 1/4; 1/2 and 1/2
    mean = functional.mean_of_softmax(logits, torch.tensor([0.5, 0.5]))
    assert mean.exp().tolist() == [pytest.approx([0.625, 0.375])]
    by_logits = functional.weighted_mean(logits, torch.tensor([0.5, 0.5])).softmax(-1)
    root = 3**0.5
    assert by_logits.tolist() == [pytest.approx([root / (1 + root), 1 / (1 + root)])]


def test_the_mean_of_multi_label_probabilities_is_computed_for_each_class():
    logits = torch.randn(3, 5, 4)
    mean = functional.mean_of_sigmoid(logits, torch.tensor(WEIGHTS))
    expected = (torch.tensor(WEIGHTS)[:, None, None] * logits.sigmoid()).sum(0)
    assert torch.allclose(mean.sigmoid(), expected, atol=1e-6)


def test_a_class_is_forbidden_only_if_all_teachers_forbid_it():
    inf = float("inf")
    logits = torch.tensor([[[0.0, -inf, -inf]], [[0.0, 0.0, -inf]]])
    mean = functional.mean_of_softmax(logits, torch.tensor([0.5, 0.5]))
    assert mean.exp().tolist() == [pytest.approx([0.75, 0.25, 0.0])]


def test_the_mean_of_large_logits_does_not_overflow():
    logits = torch.tensor([[[1000.0, -1000.0]], [[-1000.0, 1000.0]]])
    for mean in (functional.mean_of_softmax, functional.mean_of_sigmoid):
        assert mean(logits, torch.tensor([0.5, 0.5])).isfinite().all()


# ---- In the Trainer ----


@pytest.mark.parametrize("mean_of", ["probabilities", "logits"])
def test_the_loss_equals_the_loss_of_the_mean_computed_by_hand(student, dataset, tokenizer, tmp_path, mean_of):
    models, temperatures = teachers(), [1.0, 2.0, 3.0]
    ensemble = TeacherEnsemble(models, [6, 3, 1], mean_of, temperatures)
    metrics = make_trainer(student, ensemble, dataset, tokenizer, tmp_path).evaluate()
    parts = [z / t for z, t in zip(logits_by_hand(models, dataset, tokenizer), temperatures, strict=True)]
    if mean_of == "probabilities":
        mean = sum(w * z.softmax(-1) for w, z in zip(WEIGHTS, parts, strict=True)).log()
    else:
        mean = sum(w * z for w, z in zip(WEIGHTS, parts, strict=True))
    (student_logits,) = logits_by_hand([student], dataset, tokenizer)
    assert metrics["eval_loss_kl"] == pytest.approx(kl(mean, student_logits, 3.0), rel=1e-4)


def test_a_list_is_an_ensemble_of_equal_weights(student, dataset, tokenizer, tmp_path):
    models = teachers()
    as_list, as_ensemble = (
        make_trainer(student, given, dataset, tokenizer, tmp_path).evaluate()["eval_loss"]
        for given in (models, TeacherEnsemble(models, weights=[2, 2, 2]))
    )
    assert as_list == as_ensemble


def test_an_ensemble_of_equal_teachers_equals_the_teacher(student, teacher, dataset, tokenizer, tmp_path):
    one, three = (
        make_trainer(student, given, dataset, tokenizer, tmp_path).evaluate()["eval_loss_kl"]
        for given in (teacher, [teacher] * 3)
    )
    assert three == pytest.approx(one, rel=1e-5)


def test_each_teacher_is_aligned_by_its_label_names(student, dataset, tokenizer, tmp_path):
    models = teachers()
    permuted_models = [permuted(models[0], [2, 0, 1]), models[1], permuted(models[2], [1, 2, 0])]
    expected, aligned = (
        logits_of(make_trainer(student, TeacherEnsemble(given, WEIGHTS), dataset, tokenizer, tmp_path), dataset)
        for given in (models, permuted_models)
    )
    assert torch.allclose(aligned, expected, atol=1e-5)


@pytest.mark.parametrize(
    "problem", ["multi_label_classification", "regression_3", "token_classification", "single_label_classification"]
)
def test_training_with_cached_teachers_equals_training_with_live_teachers(problem, tmp_path):
    case, tokenizer = make_problem(problem), tiny_tokenizer()
    ensemble = TeacherEnsemble([case.teacher, case.student, case.teacher], WEIGHTS)
    live, cached = (
        make_trainer(
            case.student, ensemble, case.rows, tokenizer, tmp_path, per_device_train_batch_size=4,
            teacher_cache_dir=str(tmp_path / "cache"), cache_teacher_outputs=cached, **case.settings,
        )
        for cached in (False, True)
    )  # fmt: skip
    for trainer in (live, cached):
        trainer.train()
        trainer.evaluate()
    for a, b in zip(live.state.log_history, cached.state.log_history, strict=True):
        for name in ("loss", "loss_kl", "eval_loss_kl", "eval_agreement"):
            assert a.get(name, 0.0) == pytest.approx(b.get(name, 0.0), rel=1e-4, abs=1e-7)


def test_new_weights_and_subsets_of_the_teachers_use_the_stored_outputs(student, dataset, tokenizer, tmp_path):
    models = teachers()

    def computed(given):
        trainer = make_trainer(
            student, given, dataset, tokenizer, tmp_path, cache_teacher_outputs=True,
            teacher_cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip
        assert torch.isfinite(logits_of(trainer, dataset)).all()
        return [cache.num_computed for cache in trainer.teaching.caches]

    assert computed(models) == [32, 32, 32]
    assert computed(TeacherEnsemble(models, WEIGHTS)) == [0, 0, 0]
    assert computed(TeacherEnsemble(models, mean_of="logits", temperatures=[1, 2, 3])) == [0, 0, 0]
    assert computed(models[::2]) == [0, 0]
    assert computed(models[1]) == [0]


def test_a_new_evaluation_set_gets_the_columns_of_every_teacher(student, dataset, tokenizer, tmp_path):
    models, unseen = teachers(), tiny_dataset(tokenizer, 9, seed=123)
    live, cached = (
        make_trainer(student, models, dataset, tokenizer, tmp_path, cache_teacher_outputs=cached,
                     teacher_cache_dir=str(tmp_path / "cache")).evaluate(unseen)["eval_loss"]
        for cached in (False, True)
    )  # fmt: skip
    assert cached == pytest.approx(live, rel=1e-5)


def test_the_record_and_the_card_describe_every_teacher(student, dataset, tokenizer, tmp_path):
    trainer = make_trainer(student, TeacherEnsemble(teachers(), WEIGHTS), dataset, tokenizer, tmp_path)
    trainer.evaluate()
    description = trainer.distillation_record()["teacher"]
    assert (description["mean_of"], description["weights"]) == ("probabilities", pytest.approx(WEIGHTS))
    assert [member["num_hidden_layers"] for member in description["teachers"]] == [4, 3, 2]
    assert description["num_parameters"] == sum(member["num_parameters"] for member in description["teachers"])
    trainer.create_model_card()
    assert "ensemble of 3 teachers" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"teachers": []}, "at least one teacher"),
        ({"weights": [1.0]}, "`weights` must have one entry per teacher, got 1 for 2 teachers"),
        ({"weights": [1.0, 0.0]}, "`weights` must be finite numbers > 0"),
        ({"temperatures": [1.0, -1.0]}, "`temperatures` must be finite numbers >= 0.001"),
        ({"temperatures": [1.0, 1e-4]}, "`temperatures` must be finite numbers >= 0.001"),
        ({"mean_of": "votes"}, "`mean_of` must be"),
        ({"processing_classes": [None]}, "`processing_classes` must have one entry per teacher"),
    ],
)
def test_invalid_arguments_of_an_ensemble_are_rejected(arguments, message):
    with pytest.raises(ValueError, match=message):
        TeacherEnsemble(**{"teachers": ["a", "b"], **arguments})


def test_a_teacher_of_another_problem_type_is_rejected(student, teacher, dataset, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="problem type is regression"):
        make_trainer(student, [teacher, tiny_model(num_labels=1)], dataset, tokenizer, tmp_path)


def test_an_object_that_is_not_a_teacher_is_rejected_with_its_type(student, dataset, tokenizer, tmp_path):
    for given in (3, torch.nn.Linear(2, 2)):
        with pytest.raises(TypeError, match=f"got {type(given).__name__}"):
            DistillationTrainer(student, [given], make_args(tmp_path), train_dataset=dataset)
