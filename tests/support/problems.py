"""A tiny case of every problem type, and its loss written out by hand in float64, a row at a time."""

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from datasets import Dataset
from invariance import HARD, SOFT, TEMPERATURE
from tiny import LABEL_NAMES, TINY, WORDS, seeded, sharpen, tiny_dataset, tiny_model, tiny_rows, tiny_tokenizer
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertForTokenClassification, PreTrainedModel

from hf_distill.data import tokenize_words

UNLABELLED = (1, 9)


@dataclass
class Problem:
    """Models, rows (two of them unlabelled), and both terms of a row worked out by hand.

    `terms` takes the logits of student and teacher on one row, `(num_labels,)` or `(length, num_labels)`, and the row,
    and returns the sums of the soft and the hard term over its units, and the number of these.
    """

    student: PreTrainedModel
    teacher: PreTrainedModel
    rows: Dataset
    terms: Callable[[Tensor, Tensor, dict], tuple[Tensor, Tensor, int]]
    settings: dict = field(default_factory=dict)

    def reference(self, rows: Dataset) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of the mean over the units, and the means of both terms."""
        student, teacher = copy.deepcopy(self.student).double(), copy.deepcopy(self.teacher).double()
        soft, hard, units = torch.zeros(()), torch.zeros(()), 0
        for row in rows:
            inputs = {name: torch.tensor([row[name]]) for name in ("input_ids", "token_type_ids")}
            with torch.no_grad():
                teacher_logits = teacher(**inputs).logits[0]
            row_soft, row_hard, row_units = self.terms(student(**inputs).logits[0], teacher_logits, row)
            soft, hard, units = soft + row_soft, hard + row_hard, units + row_units
        ((SOFT * soft + HARD * hard) / units).backward()
        gradients = [parameter.grad for parameter in student.parameters()]
        return torch.cat([g.flatten() for g in gradients if g is not None]), soft / units, hard / units


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    """T^2 * KL of the last dimension."""
    p, q = (torch.exp(z / TEMPERATURE) / torch.exp(z / TEMPERATURE).sum(-1, keepdim=True) for z in (teacher, student))
    return TEMPERATURE**2 * (p * torch.log(p / q)).sum(-1)


def single_label(student, teacher, row):
    label = row["labels"]
    hard = student.new_zeros(()) if label == -100 else -torch.log(torch.softmax(student, -1)[label])
    return kl(student, teacher), hard, 1


def multi_label(student, teacher, row):
    soft = torch.stack(
        [kl(torch.stack([s, 0 * s]), torch.stack([t, 0 * t])) for s, t in zip(student, teacher, strict=True)]
    )
    labels, p = torch.tensor(row["labels"], dtype=torch.float64), torch.sigmoid(student)
    hard = -(labels * torch.log(p) + (1 - labels) * torch.log(1 - p)).mean()
    return soft.mean(), student.new_zeros(()) if labels.isnan().any() else hard, 1


def regression(student, teacher, row):
    labels = torch.tensor(row["labels"], dtype=torch.float64).reshape(-1)
    hard = student.new_zeros(()) if labels.isnan().any() else ((student - labels) ** 2).mean()
    return ((student - teacher) ** 2).mean(), hard, 1


def tokens(student, teacher, row):
    units = [i for i, label in enumerate(row["labels"]) if label != -100]
    starts = [i for i, start in enumerate(row.get("word_starts", [])) if start]
    hard = sum((-torch.log(torch.softmax(student[i], -1)[row["labels"][i]]) for i in units), torch.zeros(()))
    soft = sum((kl(student[i], teacher[i]) for i in units or starts), torch.zeros(()))
    return soft, hard, len(units or starts)


def _sequences(num_rows: int, label: Callable[[int, random.Random], object]) -> Dataset:
    draw = random.Random(0)
    rows = tiny_dataset(tiny_tokenizer(), num_rows, seed=3).remove_columns("labels")
    return rows.add_column("labels", [label(i, draw) for i in range(num_rows)])


def _token_model(cls: type[PreTrainedModel], num_hidden_layers: int, seed: int) -> PreTrainedModel:
    labels = {"id2label": dict(enumerate(LABEL_NAMES)), "label2id": {name: i for i, name in enumerate(LABEL_NAMES)}}
    config = BertConfig(
        **TINY, num_hidden_layers=num_hidden_layers, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        **(labels if cls is BertForTokenClassification else {}),
    )  # fmt: skip
    with seeded(seed):
        model = cls(config)
    if cls is BertForTokenClassification:
        sharpen(model)
    return model.eval()


def _sentences(num_rows: int) -> Dataset:
    draw = random.Random(0)
    # A word with a hyphen becomes two tokens; only the first one counts.
    words = [
        ["-".join(draw.choices(WORDS, k=draw.choice((1, 1, 2)))) for _ in row["text"].split()]
        for row in tiny_rows(num_rows, 3)
    ]
    tags = [None if i in UNLABELLED else [draw.randrange(3) for _ in row] for i, row in enumerate(words)]
    return tokenize_words(Dataset.from_dict({"tokens": words, "tags": tags}), tiny_tokenizer(), labels_column="tags")


def _masked(num_rows: int) -> Dataset:
    draw = random.Random(0)

    def mask(row):
        chosen = [token > 4 and draw.random() < 0.4 for token in row["input_ids"]]
        return {
            "labels": [
                token if is_chosen else -100 for token, is_chosen in zip(row["input_ids"], chosen, strict=True)
            ],
            "input_ids": [
                4 if is_chosen else token for token, is_chosen in zip(row["input_ids"], chosen, strict=True)
            ],
        }

    return tiny_dataset(tiny_tokenizer(), num_rows, seed=3).remove_columns("labels").map(mask)


def make_problem(name: str, num_rows: int = 16) -> Problem:
    """Build the case of a problem type; "regression_3" has three outputs."""
    nan, no_temperature = float("nan"), {"temperature": None}
    match name:
        case "single_label_classification":
            rows = _sequences(num_rows, lambda i, draw: -100 if i in UNLABELLED else draw.randrange(3))
            return Problem(tiny_model(2, seed=2), tiny_model(4, seed=1), rows, single_label)
        case "multi_label_classification":
            rows = _sequences(
                num_rows, lambda i, draw: [nan if i in UNLABELLED else float(draw.random() < 0.4) for _ in range(3)]
            )
            models = (tiny_model(layers, seed=seed, problem_type=name) for layers, seed in ((2, 2), (4, 1)))
            return Problem(*models, rows, multi_label)
        case "regression":
            rows = _sequences(num_rows, lambda i, draw: nan if i in UNLABELLED else draw.random())
            models = (tiny_model(layers, num_labels=1, seed=seed) for layers, seed in ((2, 2), (4, 1)))
            return Problem(*models, rows, regression, no_temperature)
        case "regression_3":
            rows = _sequences(num_rows, lambda i, draw: [nan if i in UNLABELLED else draw.random() for _ in range(3)])
            models = (tiny_model(layers, seed=seed, problem_type="regression") for layers, seed in ((2, 2), (4, 1)))
            return Problem(*models, rows, regression, no_temperature)
        case "token_classification":
            models = (_token_model(BertForTokenClassification, layers, seed) for layers, seed in ((2, 2), (4, 1)))
            return Problem(*models, _sentences(num_rows), tokens)
        case "masked_lm":
            models = (_token_model(BertForMaskedLM, layers, seed) for layers, seed in ((2, 2), (4, 1)))
            return Problem(*models, _masked(num_rows), tokens)
    raise KeyError(name)


PROBLEMS = [
    "single_label_classification", "multi_label_classification", "regression", "regression_3", "token_classification",
    "masked_lm",
]  # fmt: skip
