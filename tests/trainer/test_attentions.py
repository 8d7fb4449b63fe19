"""Attention maps and relations: all attention implementations, heads and widths, and models that cannot return them.

Their values and gradients are checked against float64 in `test_hidden_states.py`, together with the other objectives.
"""

import copy

import pytest
import torch
from invariance import make_trainer, relative_difference, trained_gradients
from layer_references import SPECS, UNSET
from tiny import LABEL_NAMES, TINY, tiny_model, visible_to_caplog
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    FNetConfig,
    FNetForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
)

from hf_distill.classifiers.forward import compute_outputs, prepare_outputs
from hf_distill.functional import attention_mse, relation_divergence

NAMES = {"id2label": dict(enumerate(LABEL_NAMES)), "label2id": {name: i for i, name in enumerate(LABEL_NAMES)}}


def fnet():
    sizes = {name: TINY[name] for name in ("vocab_size", "hidden_size", "intermediate_size")}
    return FNetForSequenceClassification(FNetConfig(**sizes, **NAMES, num_hidden_layers=2))


# ---- Values ----


def test_equal_maps_and_relations_are_at_distance_zero():
    mask = torch.tensor([[True, True, False], [True, True, True]])
    maps, vectors = torch.rand(2, 4, 3, 3).softmax(-1), torch.randn(2, 3, 8)
    assert attention_mse(maps, maps, mask).tolist() == [0.0, 0.0]
    for heads in (1, 2, 8):
        assert relation_divergence(vectors, vectors, mask, heads).tolist() == [0.0, 0.0]


def test_padding_is_ignored():
    mask = torch.tensor([[True, True, False]])
    maps, vectors = torch.rand(2, 1, 4, 3, 3), torch.randn(2, 1, 3, 8)
    short = attention_mse(maps[0][..., :2, :2], maps[1][..., :2, :2], mask[:, :2])
    assert torch.allclose(attention_mse(*maps, mask), short)
    short = relation_divergence(vectors[0][:, :2], vectors[1][:, :2], mask[:, :2], 2)
    assert torch.allclose(relation_divergence(*vectors, mask, 2), short)


def test_a_row_that_is_all_padding_has_a_finite_gradient():
    vectors = torch.randn(1, 3, 8, requires_grad=True)
    relation_divergence(vectors, torch.randn(1, 3, 8), torch.zeros(1, 3, dtype=torch.bool), 2).sum().backward()
    assert vectors.grad.isfinite().all()


# ---- Attention implementations ----


def test_a_model_whose_maps_are_read_is_switched_to_eager_and_the_cost_is_logged(
    models, rows, tokenizer, tmp_path, caplog
):
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.classifiers.forward"):
        trainer = make_trainer(*models, rows, tokenizer, tmp_path, objectives={"attention_mse": 1.0}, **UNSET)
    for role, model, maps in (("student", trainer.model, 4), ("teacher", trainer.teacher.model, 8)):
        assert model.config._attn_implementation == "eager"
        text = next(m for m in caplog.messages if f"The {role} now runs with eager attention" in m)
        assert "which sdpa attention does not return" in text
        assert f"stores {maps} maps per text ({maps * 128 * 128 * 4 / 2**20:.1f} MiB for 128 tokens" in text
        assert "slower than sdpa" in text
    trainer.save_model()  # the saved config must not force eager attention
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.config._attn_implementation == "sdpa"
    caplog.clear()
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.classifiers.forward"):
        prepare_outputs(trainer.model, {"attentions"}, "student")
    assert not caplog.messages  # the model already runs with eager attention


def test_relations_do_not_need_eager_attention_or_depend_on_it(models, rows, tokenizer, tmp_path):
    eager = copy.deepcopy(models)
    for model in eager:
        model.set_attn_implementation("eager")
    gradients = [
        trained_gradients(*pair, rows, tokenizer, tmp_path, objectives={"minilm_relation": 1.0}, **UNSET)[0]
        for pair in (models, eager)
    ]
    assert models[0].config._attn_implementation == "sdpa"
    assert relative_difference(*gradients) < 1e-5


@pytest.mark.parametrize("name", ["attention_mse", "minilm_relation", "hidden_mse"])
def test_gradient_checkpointing_does_not_change_the_gradient(models, rows, tokenizer, tmp_path, name):
    plain, checkpointed = (
        trained_gradients(*models, rows, tokenizer, tmp_path, objectives={name: SPECS[name]}, **UNSET, **more)[0]
        for more in ({}, {"gradient_checkpointing": True})
    )
    assert relative_difference(checkpointed, plain) < 1e-5


@pytest.mark.parametrize("name", ["attention_mse", "minilm_relation"])
def test_checkpointing_that_drops_the_gradient_of_attention_is_rejected(models, rows, tokenizer, tmp_path, name):
    reentrant = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}
    trainer = make_trainer(*models, rows, tokenizer, tmp_path, objectives={name: 1.0}, **UNSET, **reentrant)
    with pytest.raises(RuntimeError, match="no gradient: reentrant gradient checkpointing drops it. Set"):
        trainer.train()


@pytest.mark.slow
def test_relations_train_under_torch_compile(models, rows, tokenizer, tmp_path):
    spec = {name: SPECS[name] for name in ("minilm_relation", "hidden_mse")}
    plain, compiled = (
        trained_gradients(
            *models, rows, tokenizer, tmp_path, objectives=spec, **UNSET, torch_compile=value,
            per_device_train_batch_size=8, gradient_accumulation_steps=2,
        )[0]
        for value in (False, True)
    )  # fmt: skip
    assert relative_difference(compiled, plain) < 1e-5


# ---- Architectures ----


@pytest.mark.parametrize("architecture", ["distilbert", "mpnet", "albert", "electra", "bert"])
def test_queries_keys_and_values_are_recorded_in_every_layer(architecture):
    sizes = {**TINY, **NAMES, "num_hidden_layers": 3}
    model = {
        "distilbert": lambda: DistilBertForSequenceClassification(
            DistilBertConfig(vocab_size=25, dim=16, n_layers=3, n_heads=2, hidden_dim=32, **NAMES)
        ),
        "mpnet": lambda: MPNetForSequenceClassification(MPNetConfig(**sizes)),
        "albert": lambda: AlbertForSequenceClassification(AlbertConfig(**sizes, embedding_size=8)),
        "electra": lambda: ElectraForSequenceClassification(ElectraConfig(**sizes, embedding_size=8)),
        "bert": lambda: tiny_model(3),
    }[architecture]().eval()
    first = {
        "distilbert": lambda: model.distilbert.transformer.layer[0].attention.k_lin,
        "mpnet": lambda: model.mpnet.encoder.layer[0].attention.attn.k,
        "albert": lambda: model.albert.encoder.albert_layer_groups[0].albert_layers[0].attention.key,
        "electra": lambda: model.electra.encoder.layer[0].attention.self.key,
        "bert": lambda: model.bert.encoder.layer[0].attention.self.key,
    }[architecture]()
    prepare_outputs(model, {"qkv"}, "student")
    outputs = compute_outputs(model, {"input_ids": torch.tensor([[5, 6, 7, 8]])}, {"qkv", "hidden_states"})
    assert [[tuple(part.shape) for part in layer] for layer in outputs.qkv] == [[(1, 4, 16)] * 3] * 3
    assert torch.equal(outputs.qkv[0][1], first(outputs.hidden_states[0]))
    assert not any(module._forward_hooks for module in model.modules() if module is first)


def test_relations_train_between_models_with_different_widths_and_heads(models, rows, tokenizer, tmp_path):
    student = tiny_model(2, hidden_size=24, num_attention_heads=3, seed=2)
    spec = {"minilm_relation": {"layer_mapping": {1: 2, 2: 3}}}
    trainer = make_trainer(
        student, models[1], rows, tokenizer, tmp_path, objectives=spec, **UNSET, num_train_epochs=4, learning_rate=1.0
    )
    assert trainer.distillation_loss.spec()["minilm_relation"]["num_relation_heads"] == 8  # divides 24 and 16
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]


# ---- Errors ----


def test_relation_heads_that_do_not_divide_the_widths_are_rejected_and_the_divisors_are_listed(
    models, rows, tokenizer, tmp_path
):
    spec = {"minilm_relation": {"num_relation_heads": 3}}
    with pytest.raises(ValueError, match=r"does not divide .* 16 \(student\) and 16 \(teacher\). .* 1, 2, 4, 8, 16"):
        make_trainer(*models, rows, tokenizer, tmp_path, objectives=spec, **UNSET)


def test_maps_with_different_numbers_of_heads_are_rejected(models, rows, tokenizer, tmp_path):
    student = tiny_model(2, num_attention_heads=4, seed=2)
    with pytest.raises(ValueError, match="the student has 4 heads and the teacher has 2. Use `minilm_relation`"):
        make_trainer(student, models[1], rows, tokenizer, tmp_path, objectives={"attention_mse": 1.0}, **UNSET)


def test_models_without_attention_are_rejected(models, rows, tokenizer, tmp_path):
    with pytest.raises(
        ValueError, match="The student, a FNetForSequenceClassification, does not return attention maps"
    ):
        make_trainer(fnet(), models[1], rows, tokenizer, tmp_path, objectives={"attention_mse": 1.0}, **UNSET)
    message = (
        "the teacher, a FNetForSequenceClassification, does not have one set of modules named query/key/value, q_lin"
    )
    with pytest.raises(ValueError, match=message):
        make_trainer(models[0], fnet(), rows, tokenizer, tmp_path, objectives={"minilm_relation": 1.0}, **UNSET)


def test_attention_needs_a_live_teacher(models, rows, tokenizer, tmp_path):
    for name, read in (("attention_mse", "attentions"), ("minilm_relation", "qkv")):
        with pytest.raises(
            ValueError, match=f"read the teacher's {read}, but only logits and cls_states can be stored"
        ):
            make_trainer(models[0], None, rows, tokenizer, tmp_path, objectives={name: 1.0}, **UNSET)


def test_embeddings_have_no_attention(models, rows, tokenizer, tmp_path):
    spec = {"attention_mse": {"layer_mapping": {0: 0}}}
    with pytest.raises(ValueError, match="names layer 0 of the student, but only layers 1 to 2"):
        make_trainer(*models, rows, tokenizer, tmp_path, objectives=spec, **UNSET)
