"""The teacher runs once per distinct text: a content-addressed store of its outputs on disk."""

from hf_distill.cache.teacher_cache import TeacherCache

__all__ = ["TeacherCache"]
