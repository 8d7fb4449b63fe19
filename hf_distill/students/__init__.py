"""Students from a teacher's weights: fewer layers, neurons or word pieces, another architecture, no layers."""

from hf_distill.classifiers.static_model import StaticConfig, StaticForSequenceClassification
from hf_distill.students.create import CONVERSIONS, create_student
from hf_distill.students.feed_forward import keep_neurons
from hf_distill.students.layers import LAYER_CHOICES, select_layers
from hf_distill.students.static import create_static_student
from hf_distill.students.vocabulary import trim_vocabulary

__all__ = [
    "CONVERSIONS",
    "LAYER_CHOICES",
    "StaticConfig",
    "StaticForSequenceClassification",
    "create_static_student",
    "create_student",
    "keep_neurons",
    "select_layers",
    "trim_vocabulary",
]
