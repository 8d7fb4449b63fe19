"""Students made from a teacher's own weights: fewer layers of it, or a BERT turned into a DistilBERT."""

from hf_distill.students.create import create_student
from hf_distill.students.layers import select_layers

__all__ = ["create_student", "select_layers"]
