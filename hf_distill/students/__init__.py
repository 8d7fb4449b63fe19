"""Students from a teacher's weights: fewer layers or neurons, a DistilBERT from a BERT, a smaller vocabulary."""

from hf_distill.students.create import CONVERSIONS, create_student
from hf_distill.students.feed_forward import keep_neurons
from hf_distill.students.layers import LAYER_CHOICES, select_layers
from hf_distill.students.vocabulary import trim_vocabulary

__all__ = ["CONVERSIONS", "LAYER_CHOICES", "create_student", "keep_neurons", "select_layers", "trim_vocabulary"]
