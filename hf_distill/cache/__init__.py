"""The teacher runs once per distinct text: a content-addressed store of its outputs on disk."""

from hf_distill.cache.function_cache import FunctionCache
from hf_distill.cache.output_cache import OutputCache
from hf_distill.cache.teacher_cache import TeacherCache

__all__ = ["FunctionCache", "OutputCache", "TeacherCache"]
