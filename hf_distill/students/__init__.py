"""Students from a teacher's weights: fewer layers, a DistilBERT from a BERT, a smaller vocabulary."""

from hf_distill.students.create import CONVERSIONS, create_student
from hf_distill.students.layers import select_layers
from hf_distill.students.vocabulary import trim_vocabulary

__all__ = ["CONVERSIONS", "create_student", "select_layers", "trim_vocabulary"]
