"""Reference values of the layer objectives in float64, row by row without padding, for models with 2 and 4 layers."""

import copy
from dataclasses import dataclass

import torch
from problems import Problem
from torch import Tensor
from transformers import PreTrainedModel

UNSET = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}
RELATION_HEADS = 4


@dataclass
class Row:
    """Outputs of a model for one row: states `(length, size)`, maps `(heads, length, length)`, and the projections."""

    logits: Tensor
    states: list[Tensor]
    maps: list[Tensor]
    qkv: list[list[Tensor]]


def run_row(model: PreTrainedModel, row: dict) -> Row:
    """Run an eager float64 BERT on one row."""
    inputs = {name: torch.tensor([row[name]]) for name in ("input_ids", "token_type_ids")}
    outputs = model(**inputs, output_hidden_states=True, output_attentions=True)
    states = [state[0] for state in outputs.hidden_states]
    attentions = [layer.attention.self for layer in model.bert.encoder.layer]
    qkv = [
        [getattr(attention, name)(states[i]) for name in ("query", "key", "value")]
        for i, attention in enumerate(attentions)
    ]
    return Row(outputs.logits[0], states, [a[0] for a in outputs.attentions], qkv)


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True)


def _relation_term(student_vectors: Tensor, teacher_vectors: Tensor) -> Tensor:
    total = torch.zeros(())
    heads = (vectors.chunk(RELATION_HEADS, dim=-1) for vectors in (student_vectors, teacher_vectors))
    for student_head, teacher_head in zip(*heads, strict=True):
        q, p = (torch.softmax(x @ x.T / x.shape[-1] ** 0.5, dim=-1) for x in (student_head, teacher_head))
        total = total + (p * torch.log(p / q)).sum(-1).mean() / RELATION_HEADS
    return total


# Name -> value of one row with the default layer mapping; layers count from 1, 0 is the embeddings.
VALUES = {
    "hidden_mse": lambda s, t: sum(((s.states[i] - t.states[j]) ** 2).mean() for i, j in ((1, 2), (2, 4))) / 2,
    "hidden_cosine": lambda s, t: (1 - (_unit(s.states[2]) * _unit(t.states[4])).sum(-1)).mean(),
    "embedding_mse": lambda s, t: ((s.states[0] - t.states[0]) ** 2).mean(),
    "pkd": lambda s, t: ((_unit(s.states[1][0]) - _unit(t.states[2][0])) ** 2).sum(),
    "attention_mse": lambda s, t: sum(((s.maps[i - 1] - t.maps[j - 1]) ** 2).mean() for i, j in ((1, 2), (2, 4))) / 2,
    "minilm_relation": lambda s, t: sum(_relation_term(a, b) for a, b in zip(s.qkv[1], t.qkv[3], strict=True)),
}
# The weights give gradients of similar size, so that an error in one objective is visible in the sum.
SPECS = {
    "hidden_mse": {"weight": 1.0},
    "hidden_cosine": {"weight": 1.0},
    "embedding_mse": {"weight": 1.0},
    "pkd": {"weight": 1.0},
    "attention_mse": {"weight": 10.0},
    "minilm_relation": {"weight": 1.0, "num_relation_heads": RELATION_HEADS},
}


def make_references(problem: Problem) -> dict[str, tuple[Tensor, float]]:
    """For every term of `SPECS`, the gradient of its weighted mean over the units, and its mean."""
    student, teacher = (copy.deepcopy(model).double() for model in (problem.student, problem.teacher))
    for model in (student, teacher):
        model.set_attn_implementation("eager")
    sums, units = dict.fromkeys(SPECS, torch.zeros(())), 0
    for row in problem.rows:
        student_row = run_row(student, row)
        with torch.no_grad():
            teacher_row = run_row(teacher, row)
        num_units = problem.terms(student_row.logits, teacher_row.logits, row)[2]
        units += num_units
        # A row counts once for each of its units.
        sums = {name: total + num_units * VALUES[name](student_row, teacher_row) for name, total in sums.items()}
    results, parameters = {}, list(student.parameters())
    for name, total in sums.items():
        weighted = SPECS[name]["weight"] * total / units
        gradients = torch.autograd.grad(weighted, parameters, retain_graph=True, materialize_grads=True)
        results[name] = torch.cat([gradient.flatten() for gradient in gradients]), total.item() / units
    return results
