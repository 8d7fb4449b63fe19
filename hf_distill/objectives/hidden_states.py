"""Terms on hidden states: of every token, of the embeddings, of [CLS]."""

import torch
from torch import Tensor

from hf_distill import functional
from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.objectives.inner import ProjectedObjective, is_token
from hf_distill.objectives.layer_maps import LayerMapping
from hf_distill.objectives.schedules import Scheduled


class _HiddenStates(ProjectedObjective):
    student_reads = teacher_reads = frozenset({"hidden_states"})

    @staticmethod
    def compare(student_states: Tensor, teacher_states: Tensor, is_token: Tensor) -> Tensor:
        """Return `(batch,)` for the states of one layer."""
        raise NotImplementedError

    def of_examples(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        assert student.hidden_states is not None
        assert teacher.hidden_states is not None
        mask = is_token(batch)
        values = [
            self.compare(self.project(student.hidden_states[ours].float()), teacher.hidden_states[theirs], mask)
            for ours, theirs in self.pairs
        ]
        return torch.stack(values).mean(dim=0)


class HiddenMSE(_HiddenStates):
    """Squared error between hidden states, mean over pairs of layers; see [`functional.hidden_mse`].

    Needs a live teacher with the student's tokenizer, as do the next two. Padding counts for nothing. Widths that
    differ are bridged by a learned projection; see [`ProjectedObjective`] and [`layer_pairs`] for the arguments.
    """

    name = "hidden_mse"
    paper = "Jiao et al. (2020), equation 8, https://huggingface.co/papers/1909.10351"
    compare = staticmethod(functional.hidden_mse)

    def __init__(
        self, layer_mapping: LayerMapping = "uniform", projection: bool = True, weight: Scheduled = 1.0
    ) -> None:
        super().__init__(layer_mapping, projection, weight)


class HiddenCosine(_HiddenStates):
    """One minus the cosine between hidden states, mean over pairs of layers; see [`functional.hidden_cosine`].

    DistilBERT's third term, on the last layers.
    """

    name = "hidden_cosine"
    paper = "Sanh et al. (2019), section 3, https://huggingface.co/papers/1910.01108"
    compare = staticmethod(functional.hidden_cosine)

    def __init__(self, layer_mapping: LayerMapping = "last", projection: bool = True, weight: Scheduled = 1.0) -> None:
        super().__init__(layer_mapping, projection, weight)


class EmbeddingMSE(_HiddenStates):
    """Squared error between the outputs of the embeddings; see [`functional.hidden_mse`]."""

    name = "embedding_mse"
    paper = "Jiao et al. (2020), equation 9, https://huggingface.co/papers/1909.10351"
    compare = staticmethod(functional.hidden_mse)

    def __init__(self, projection: bool = True, weight: Scheduled = 1.0) -> None:
        super().__init__({0: 0}, projection, weight)


class PatientDistillation(ProjectedObjective):
    """Squared distance between [CLS] states of unit length; see [`functional.normalised_distance`].

    [CLS] is the first token that is no padding. Instead of a live teacher, the column `teacher_cls_states` that
    `TeacherCache(outputs="cls_states")` writes will do.
    """

    name = "pkd"
    paper = "Sun et al. (2019), https://huggingface.co/papers/1908.09355"
    student_reads = teacher_reads = frozenset({"cls_states"})

    def __init__(self, layer_mapping: LayerMapping = "skip", projection: bool = True, weight: Scheduled = 1.0) -> None:
        super().__init__(layer_mapping, projection, weight)

    def of_examples(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        assert student.cls_states is not None
        assert teacher.cls_states is not None
        ours, theirs = ([pair[side] for pair in self.pairs] for side in (0, 1))
        projected = self.project(student.cls_states[:, ours].float())
        return functional.normalised_distance(projected, teacher.cls_states[:, theirs])
