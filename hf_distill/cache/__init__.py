"""A store of teacher outputs on disk, addressed by content, so that the teacher runs once for each distinct text."""

from hf_distill.cache.function_cache import FunctionCache
from hf_distill.cache.output_cache import OutputCache
from hf_distill.cache.teacher_cache import TeacherCache

__all__ = ["FunctionCache", "OutputCache", "TeacherCache"]
