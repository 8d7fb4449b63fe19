"""Hidden-state objectives against a float64 reference, for several splits of the rows and problem types."""

import copy

import pytest
import torch
from invariance import make_args, make_trainer, relative_difference, trained_gradients
from layer_references import SPECS, UNSET, VALUES, make_references
from problems import make_problem
from tiny import TINY, tiny_model
from transformers import DistilBertConfig, DistilBertForMaskedLM

from hf_distill import DistillationTrainer, TeacherCache
from hf_distill.functional import hidden_cosine, hidden_mse, normalised_distance
from hf_distill.objectives import OBJECTIVES

PROBLEMS = ["single_label_classification", "token_classification", "masked_lm"]


@pytest.fixture(scope="module", params=PROBLEMS)
def problem(request):
    return make_problem(request.param)


@pytest.fixture(scope="module")
def references(problem):
    return make_references(problem)


def test_every_layer_objective_has_a_reference():
    layer_objectives = {name for name, cls in OBJECTIVES.items() if "logits" not in cls.student_reads}
    assert layer_objectives == SPECS.keys() == VALUES.keys()


@pytest.mark.parametrize("name", SPECS)
def test_the_gradient_of_uneven_micro_batches_equals_the_reference(problem, references, tokenizer, tmp_path, name):
    (gradient,) = trained_gradients(
        problem.student, problem.teacher, problem.rows, tokenizer, tmp_path, objectives={name: SPECS[name]}, **UNSET,
        per_device_train_batch_size=6, gradient_accumulation_steps=3,
    )  # fmt: skip
    assert gradient.norm() > 1e-3
    assert relative_difference(gradient, references[name][0]) < 1e-4


def test_the_gradient_of_all_objectives_is_the_sum_of_the_references(problem, references, tokenizer, tmp_path):
    (gradient,) = trained_gradients(
        problem.student, problem.teacher, problem.rows, tokenizer, tmp_path, objectives=SPECS, **UNSET,
        per_device_train_batch_size=16,
    )  # fmt: skip
    assert relative_difference(gradient, sum(gradient for gradient, _ in references.values())) < 1e-4


def test_evaluation_reports_every_term_under_its_name(problem, references, tokenizer, tmp_path):
    trainer = make_trainer(
        problem.student, problem.teacher, problem.rows, tokenizer, tmp_path, objectives=SPECS, **UNSET,
        per_device_eval_batch_size=5,
    )  # fmt: skip
    metrics = trainer.evaluate()
    for name, (_, value) in references.items():
        assert metrics[f"eval_loss_{name}"] == pytest.approx(value, rel=1e-4)
    weighted = sum(spec["weight"] * metrics[f"eval_loss_{name}"] for name, spec in SPECS.items())
    assert metrics["eval_loss"] == pytest.approx(weighted, rel=1e-5)


# ---- Values ----


def test_equal_states_have_distance_zero_and_opposite_states_the_largest_distance():
    states, mask = torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    assert hidden_mse(states, states, mask).tolist() == [0.0, 0.0]
    assert hidden_cosine(states, 3 * states, mask).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert hidden_cosine(states, -states, mask).tolist() == pytest.approx([2.0, 2.0])
    assert normalised_distance(states, 3 * states).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert normalised_distance(states, -states).tolist() == pytest.approx([4.0, 4.0])


def test_padding_is_ignored_even_if_it_is_not_finite():
    states, mask = torch.randn(2, 1, 3, 4), torch.tensor([[True, True, False]])
    for function in (hidden_mse, hidden_cosine):
        expected = function(states[0][:, :2], states[1][:, :2], mask[:, :2])
        states[0][:, 2] = float("inf")
        assert torch.equal(function(*states, mask), expected)


def test_padding_on_the_left_does_not_move_the_first_token(models, dataset, tokenizer, tmp_path):
    spec = {name: SPECS[name] for name in ("pkd", "hidden_cosine", "minilm_relation")}
    left = copy.deepcopy(tokenizer)
    left.padding_side = "left"
    # BERT counts position ids from the padding, so both sides only agree without position embeddings.
    models = copy.deepcopy(models)
    for model in models:
        torch.nn.init.zeros_(model.bert.embeddings.position_embeddings.weight)
    right_padded, left_padded = (
        make_trainer(*models, dataset, side, tmp_path, objectives=spec, **UNSET).evaluate()
        for side in (tokenizer, left)
    )
    for name in spec:
        assert left_padded[f"eval_loss_{name}"] == pytest.approx(right_padded[f"eval_loss_{name}"], rel=1e-4)


# ---- DistilBERT's triple loss ----


def test_the_triple_loss_of_distilbert_is_one_spec(tokenizer, tmp_path):
    problem = make_problem("masked_lm")
    config = DistilBertConfig(
        vocab_size=TINY["vocab_size"], dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=64
    )
    student = DistilBertForMaskedLM(config)
    before = copy.deepcopy(student)
    spec = {
        "kl": {"weight": 5.0, "temperature": 2.0},
        "ce": 2.0,
        "hidden_cosine": {"weight": 1, "layer_mapping": "last"},
    }
    trainer = make_trainer(
        student, problem.teacher, problem.rows, tokenizer, tmp_path, objectives=spec, **UNSET, num_train_epochs=3
    )
    trainer.train()
    first, *_, last = (entry for entry in trainer.state.log_history if "loss" in entry)
    for name, weight in {"kl": 5.0, "ce": 2.0, "hidden_cosine": 1}.items():
        assert last[f"loss_{name}"] < first[f"loss_{name}"], weight
    assert first["loss"] == pytest.approx(
        5 * first["loss_kl"] + 2 * first["loss_ce"] + first["loss_hidden_cosine"], rel=1e-5
    )
    changed = [name for name, p in trainer.model.named_parameters() if not torch.equal(p, before.get_parameter(name))]
    assert len(changed) == len(list(before.parameters()))


# ---- Stored [CLS] states ----


def test_pkd_with_the_cache_equals_pkd_with_the_live_teacher(models, dataset, tokenizer, tmp_path):
    live, cached = (
        make_trainer(
            *models, dataset, tokenizer, tmp_path / "out", objectives={"pkd": 1.0, "kl": 1.0}, **UNSET,
            per_device_train_batch_size=8, cache_teacher_outputs=is_cached, teacher_cache_dir=str(tmp_path / "cache"),
        )
        for is_cached in (False, True)
    )  # fmt: skip
    for trainer in (live, cached):
        trainer.train()
    assert {"teacher_logits", "teacher_cls_states"} <= set(cached.train_dataset.column_names)
    for a, b in zip(live.state.log_history, cached.state.log_history, strict=True):
        assert a.get("loss_pkd", 0.0) == pytest.approx(b.get("loss_pkd", 0.0), rel=1e-4)
    assert cached.evaluate()["eval_loss_pkd"] == pytest.approx(live.evaluate()["eval_loss_pkd"], rel=1e-4)
    assert cached.evaluate()["eval_agreement"] == live.evaluate()["eval_agreement"]


def test_pkd_only_needs_the_column_of_the_states(models, dataset, tokenizer, tmp_path):
    student, teacher = models
    labelled = TeacherCache(tmp_path / "cache", teacher, tokenizer, outputs="cls_states").label(dataset)
    spec = {"pkd": {"layer_mapping": "uniform"}, "ce": 0.5}
    from_column = make_trainer(student, None, labelled, tokenizer, tmp_path, objectives=spec, **UNSET)
    live = make_trainer(student, teacher, dataset, tokenizer, tmp_path, objectives=spec, **UNSET)
    assert from_column.evaluate()["eval_loss_pkd"] == pytest.approx(live.evaluate()["eval_loss_pkd"], rel=1e-4)
    assert "eval_agreement" not in from_column.evaluate()  # without its logits
    from_column.train()
    with pytest.raises(
        ValueError, match="names layer 5 of the teacher, but only layers 0 to 4 of the teacher can be compared"
    ):
        make_trainer(
            student, None, labelled, tokenizer, tmp_path, objectives={"pkd": {"layer_mapping": {1: 5}}}, **UNSET
        )


# ---- Errors before training starts ----


def test_hidden_states_need_a_live_teacher(models, dataset, tokenizer, tmp_path):
    message = "read the teacher's hidden_states, but only logits and cls_states can be stored. Pass `teacher_model`"
    for name in ("hidden_mse", "hidden_cosine", "embedding_mse"):
        with pytest.raises(ValueError, match=message):
            make_trainer(models[0], None, dataset, tokenizer, tmp_path, objectives={name: 1.0}, **UNSET)
    with pytest.raises(ValueError, match=message):  # by the arguments, before a teacher is loaded or fine-tuned
        make_args(tmp_path, objectives={"kl": 1.0, "hidden_mse": 1.0}, **UNSET, cache_teacher_outputs=True)


def test_a_missing_column_of_states_is_named(models, dataset, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="no dataset has a column `teacher_cls_states`"):
        make_trainer(models[0], None, dataset, tokenizer, tmp_path, objectives={"pkd": 1.0}, **UNSET)


def test_different_widths_without_a_projection_are_rejected(models, dataset, tokenizer, tmp_path):
    narrow = tiny_model(hidden_size=8, seed=2)
    spec = {"hidden_mse": {"projection": False}}
    with pytest.raises(ValueError, match=r"of size 8 \(student\) and 16 \(teacher\), but `projection` is false"):
        make_trainer(narrow, models[1], dataset, tokenizer, tmp_path, objectives=spec, **UNSET)


def test_the_depths_of_the_models_are_checked_at_construction(models, dataset, tokenizer, tmp_path):
    spec = {"hidden_mse": {"layer_mapping": {3: 4}}}
    with pytest.raises(ValueError, match="`layer_mapping` of `hidden_mse` names layer 3 of the student"):
        make_trainer(*models, dataset, tokenizer, tmp_path, objectives=spec, **UNSET)


def test_objective_instances_work_like_a_spec(models, dataset, tokenizer, tmp_path):
    objectives = [OBJECTIVES["hidden_mse"](layer_mapping="last", weight=2.0), OBJECTIVES["kl"](temperature=3.0)]
    args = make_trainer(*models, dataset, tokenizer, tmp_path, **UNSET).args
    trainer = DistillationTrainer(
        copy.deepcopy(models[0]),
        models[1],
        args,
        eval_dataset=dataset,
        processing_class=tokenizer,
        objectives=objectives,
    )
    spec = {"hidden_mse": {"layer_mapping": "last", "weight": 2.0}, "kl": {"temperature": 3.0}}
    same = make_trainer(*models, dataset, tokenizer, tmp_path, objectives=spec, **UNSET)
    assert trainer.evaluate()["eval_loss"] == same.evaluate()["eval_loss"]


def test_models_return_only_the_requested_outputs(models, dataset, tokenizer, tmp_path):
    trainer = make_trainer(*models, dataset, tokenizer, tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    for outputs in (trainer._run_student(trainer.model, batch), trainer.teacher(batch)):
        assert outputs.hidden_states is outputs.cls_states is outputs.attentions is outputs.qkv is None
