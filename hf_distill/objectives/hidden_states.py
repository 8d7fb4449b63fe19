"""Terms on hidden states: of all tokens, of the embeddings, and of [CLS]."""

import torch
from torch import Tensor

from hf_distill import functional
from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.objectives.layer_maps import LayerMapping
from hf_distill.objectives.layer_objectives import ProjectedObjective, token_mask
from hf_distill.objectives.schedules import Scheduled


class _HiddenStatesObjective(ProjectedObjective):
    student_reads = teacher_reads = frozenset({"hidden_states"})

    @staticmethod
    def compare(student_states: Tensor, teacher_states: Tensor, is_token: Tensor) -> Tensor:
        """Return the loss between the states of one pair of layers, `(batch,)`."""
        raise NotImplementedError

    def example_values(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        assert student.hidden_states is not None
        assert teacher.hidden_states is not None
        mask = token_mask(batch)
        values = [
            self.compare(
                self.project(student.hidden_states[student_layer].float()), teacher.hidden_states[teacher_layer], mask
            )
            for student_layer, teacher_layer in self.pairs
        ]
        return torch.stack(values).mean(dim=0)


class HiddenMSE(_HiddenStatesObjective):
    """Squared error between hidden states, mean over pairs of layers; see [`functional.hidden_mse`].

    Needs a live teacher that uses the student's tokenizer. Padding is ignored. If the widths differ, a projection is
    learned; see [`ProjectedObjective`] and [`layer_pairs`] for the arguments.
    """

    name = "hidden_mse"
    paper = "Jiao et al. (2020), equation 8, https://huggingface.co/papers/1909.10351"
    compare = staticmethod(functional.hidden_mse)

    def __init__(
        self, layer_mapping: LayerMapping = "uniform", projection: bool = True, weight: Scheduled = 1.0
    ) -> None:
        super().__init__(layer_mapping, projection, weight)


class HiddenCosine(_HiddenStatesObjective):
    """One minus the cosine between hidden states, mean over pairs of layers; see [`functional.hidden_cosine`].

    This is the third term of DistilBERT's loss, on the last layers by default. Needs a live teacher that uses the
    student's tokenizer.
    """

    name = "hidden_cosine"
    paper = "Sanh et al. (2019), section 3, https://huggingface.co/papers/1910.01108"
    compare = staticmethod(functional.hidden_cosine)

    def __init__(self, layer_mapping: LayerMapping = "last", projection: bool = True, weight: Scheduled = 1.0) -> None:
        super().__init__(layer_mapping, projection, weight)


class EmbeddingMSE(_HiddenStatesObjective):
    """Squared error between the outputs of the embeddings; see [`functional.hidden_mse`].

    Needs a live teacher that uses the student's tokenizer.
    """

    name = "embedding_mse"
    paper = "Jiao et al. (2020), equation 9, https://huggingface.co/papers/1909.10351"
    compare = staticmethod(functional.hidden_mse)

    def __init__(self, projection: bool = True, weight: Scheduled = 1.0) -> None:
        super().__init__({0: 0}, projection, weight)


class PatientDistillation(ProjectedObjective):
    """Squared distance between normalized [CLS] states; see [`functional.normalised_distance`].

    [CLS] is the first token that is not padding. In a decoder it is the last one, which its head reads. The column
    `teacher_cls_states` of `TeacherCache(outputs="cls_states")` can replace a live teacher.
    """

    name = "pkd"
    paper = "Sun et al. (2019), https://huggingface.co/papers/1908.09355"
    student_reads = teacher_reads = frozenset({"cls_states"})

    def __init__(self, layer_mapping: LayerMapping = "skip", projection: bool = True, weight: Scheduled = 1.0) -> None:
        super().__init__(layer_mapping, projection, weight)

    def example_values(self, student: ClassifierOutputs, teacher: ClassifierOutputs, batch: Batch) -> Tensor:
        assert student.cls_states is not None
        assert teacher.cls_states is not None
        student_layers, teacher_layers = (list(layers) for layers in zip(*self.pairs, strict=True))
        projected = self.project(_layers(student.cls_states, student_layers).float())
        return functional.normalised_distance(projected, _layers(teacher.cls_states, teacher_layers))


def _layers(cls_states: Tensor, layers: list[int]) -> Tensor:
    """Return the states of some layers; a list as an index would be copied to the device in each step."""
    return torch.stack([cls_states[:, layer] for layer in layers], dim=1)
