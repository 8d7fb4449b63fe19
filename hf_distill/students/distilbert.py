"""Convert a BERT into a DistilBERT: the same encoder with other names, without segments and pooler."""

import copy
import warnings
from collections.abc import Mapping, Sequence

from torch import Tensor
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from hf_distill.classifiers.loading import commit_of
from hf_distill.students.layers import build_student

_LAYER_NORM_EPS = 1e-12  # a constant in DistilBERT's code; its config has no such field

_EMBEDDING_MODULES = ("word_embeddings", "position_embeddings", "LayerNorm")
_LAYER_MODULES = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
_HEADS: dict[type[PreTrainedModel], tuple[type[PreTrainedModel], dict[str, str]]] = {
    BertForSequenceClassification: (
        DistilBertForSequenceClassification,
        {"bert.pooler.dense": "pre_classifier", "classifier": "classifier"},
    ),
    BertForTokenClassification: (DistilBertForTokenClassification, {"classifier": "classifier"}),
    BertForMaskedLM: (
        DistilBertForMaskedLM,
        {
            "cls.predictions.transform.dense": "vocab_transform",
            "cls.predictions.transform.LayerNorm": "vocab_layer_norm",
            "cls.predictions.decoder": "vocab_projector",
        },
    ),
}


def bert_to_distilbert(teacher: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """Copy the given layers of a BERT, its embeddings and its head into a DistilBERT.

    Warns if the teacher's `layer_norm_eps` is not DistilBERT's constant 1e-12: the hidden states then differ slightly
    before training.

    Args:
        teacher: A BERT with a head for sequence classification, token classification or masked language modelling.
        layers: Indices of the layers to copy, increasing.

    Raises:
        ValueError: if DistilBERT has no counterpart of the teacher's class.
    """
    if type(teacher) not in _HEADS:
        raise ValueError(
            f"DistilBERT has no counterpart of {type(teacher).__name__}; `architecture='distilbert'` takes "
            f"{', '.join(bert_class.__name__ for bert_class in _HEADS)}."
        )
    if teacher.config.layer_norm_eps != _LAYER_NORM_EPS:
        warnings.warn(
            f"The teacher's layer_norm_eps is {teacher.config.layer_norm_eps}, but DistilBERT's is always "
            f"{_LAYER_NORM_EPS}: the student's hidden states will not equal the teacher's exactly. Leave out "
            "`architecture` for a student with the teacher's value.",
            stacklevel=3,
        )
    student_class, head_modules = _HEADS[type(teacher)]
    weights = _renamed(teacher.state_dict(), layers, head_modules)
    return build_student(student_class, _distilbert_config(teacher.config, len(layers)), weights, teacher)


def _renamed(weights: Mapping[str, Tensor], layers: Sequence[int], head_modules: dict[str, str]) -> dict[str, Tensor]:
    modules = dict(head_modules)
    modules |= {f"bert.embeddings.{module}": f"distilbert.embeddings.{module}" for module in _EMBEDDING_MODULES}
    for student_layer, teacher_layer in enumerate(layers):
        for bert_module, module in _LAYER_MODULES.items():
            bert_name = f"bert.encoder.layer.{teacher_layer}.{bert_module}"
            modules[bert_name] = f"distilbert.transformer.layer.{student_layer}.{module}"
    renamed = {}
    for name, weight in weights.items():
        module, parameter = name.rsplit(".", 1)
        if module in modules:
            renamed[f"{modules[module]}.{parameter}"] = weight
    # BERT adds the embedding of a segment to every token; DistilBERT has no segments. All tokens of a single text are
    # in segment 0, so its embedding is added to the position embeddings.
    positions = "distilbert.embeddings.position_embeddings.weight"
    renamed[positions] = renamed[positions] + weights["bert.embeddings.token_type_embeddings.weight"][0]
    return renamed


def _distilbert_config(bert: PreTrainedConfig, num_hidden_layers: int) -> DistilBertConfig:
    head_dropout = bert.hidden_dropout_prob if bert.classifier_dropout is None else bert.classifier_dropout
    config = DistilBertConfig(
        n_layers=num_hidden_layers,
        vocab_size=bert.vocab_size,
        max_position_embeddings=bert.max_position_embeddings,
        dim=bert.hidden_size,
        n_heads=bert.num_attention_heads,
        hidden_dim=bert.intermediate_size,
        activation=bert.hidden_act,
        dropout=bert.hidden_dropout_prob,
        attention_dropout=bert.attention_probs_dropout_prob,
        seq_classif_dropout=head_dropout,
        initializer_range=bert.initializer_range,
        pad_token_id=bert.pad_token_id,
        bos_token_id=bert.bos_token_id,
        eos_token_id=bert.eos_token_id,
        tie_word_embeddings=bert.tie_word_embeddings,
        id2label=copy.copy(bert.id2label),
        label2id=copy.copy(bert.label2id),
        problem_type=bert.problem_type,
    )
    config.name_or_path, config._commit_hash = bert.name_or_path, commit_of(bert)
    config._attn_implementation = bert._attn_implementation
    return config
