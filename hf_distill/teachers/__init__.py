"""Teachers: they answer a batch with `ClassifierOutputs`."""

from hf_distill.teachers.base import BaseTeacher, CachedTeacher
from hf_distill.teachers.ensemble import EnsembleTeacher, TeacherEnsemble
from hf_distill.teachers.function import FunctionTeacher
from hf_distill.teachers.model import Teacher, load_teacher

__all__ = [
    "BaseTeacher",
    "CachedTeacher",
    "EnsembleTeacher",
    "FunctionTeacher",
    "Teacher",
    "TeacherEnsemble",
    "load_teacher",
]
