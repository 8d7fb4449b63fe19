"""What a teacher's config says about its outputs, which decides how labels are read."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedConfig

from hf_distill.classifiers.label_maps import are_placeholders, class_names_of, id2label_of
from hf_distill.classifiers.loading import read_config
from hf_distill.classifiers.problem_types import problem_type_of_head
from hf_distill.pipeline.loading import ModelReference


@dataclass(frozen=True)
class TeacherHead:
    """The outputs of a teacher.

    Args:
        num_labels: Number of outputs.
        problem_type: `problem_type` of the config; None if the config leaves it open.
        class_name: Class of the saved model, such as `BertForTokenClassification`; None if the config does not say.
        label_names: Names of the classes; empty if the outputs have none.
    """

    num_labels: int
    problem_type: str | None
    class_name: str | None = None
    label_names: Sequence[str] = ()

    @property
    def resolved_problem_type(self) -> str | None:
        """The problem type that the loaded teacher will have; None if the class has no head that is known."""
        if self.class_name is None:
            return self.problem_type
        of_head = problem_type_of_head(self.class_name)
        if of_head is not None or not self.class_name.endswith("ForSequenceClassification"):
            return of_head
        return self.problem_type or ("regression" if self.num_labels == 1 else "single_label_classification")


def read_head(teacher: ModelReference) -> TeacherHead | None:
    """Read the config of a teacher; return None if there is none, as for an adapter.

    Raises:
        ValueError: if the config needs its own Python code and `trust_remote_code` is False.
    """
    try:
        config = read_config(teacher.name_or_path, teacher.revision, teacher.trust_remote_code)
    except OSError:  # a teacher that does not exist is reported when it is loaded
        return None
    if config is None:
        return None
    class_name = next(iter(config.architectures or []), None)
    return TeacherHead(config.num_labels or 0, config.problem_type, class_name, names_in(config))


def names_in(config: PreTrainedConfig) -> Sequence[str]:
    """Return the names of the classes in a config; nothing for placeholders."""
    return () if are_placeholders(id2label_of(config)) else class_names_of(config)
