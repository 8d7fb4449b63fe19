"""Teachers: models, stored outputs and ensembles that return `ClassifierOutputs` for a batch."""

from hf_distill.teachers.base import BaseTeacher, CachedTeacher
from hf_distill.teachers.ensemble import EnsembleTeacher, TeacherEnsemble
from hf_distill.teachers.function import FunctionTeacher
from hf_distill.teachers.loading import load_teacher
from hf_distill.teachers.model import Teacher
from hf_distill.teachers.zero_shot import ZeroShotTeacher

__all__ = [
    "BaseTeacher",
    "CachedTeacher",
    "EnsembleTeacher",
    "FunctionTeacher",
    "Teacher",
    "TeacherEnsemble",
    "ZeroShotTeacher",
    "load_teacher",
]
