"""Loss functions of distillation: pure functions of tensors that return one value per unit. They only need torch."""

from hf_distill.functional.ensembles import mean_of_sigmoid, mean_of_softmax, weighted_mean
from hf_distill.functional.hidden_states import (
    attention_mse,
    hidden_cosine,
    hidden_mse,
    normalised_distance,
    relation_divergence,
)
from hf_distill.functional.logits import (
    bernoulli_kl_divergence,
    decoupled_kl_divergence,
    dist_loss,
    jensen_shannon_divergence,
    kl_divergence,
    logit_mse,
    reverse_kl_divergence,
    soft_loss,
)
from hf_distill.functional.supervised import IGNORE_INDEX, binary_cross_entropy, cross_entropy, squared_error
from hf_distill.functional.tempered import LOWEST_TEMPERATURE

__all__ = [
    "IGNORE_INDEX",
    "LOWEST_TEMPERATURE",
    "attention_mse",
    "bernoulli_kl_divergence",
    "binary_cross_entropy",
    "cross_entropy",
    "decoupled_kl_divergence",
    "dist_loss",
    "hidden_cosine",
    "hidden_mse",
    "jensen_shannon_divergence",
    "kl_divergence",
    "logit_mse",
    "mean_of_sigmoid",
    "mean_of_softmax",
    "normalised_distance",
    "relation_divergence",
    "reverse_kl_divergence",
    "soft_loss",
    "squared_error",
    "weighted_mean",
]
