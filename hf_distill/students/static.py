"""`create_static_student`: a student without layers, which starts from the teacher's token vectors."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.loading import commit_of
from hf_distill.classifiers.static_model import StaticConfig, StaticForSequenceClassification
from hf_distill.classifiers.token_ids import word_embeddings

_BATCH_SIZE = 1024


def create_static_student(
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dim: int = 256,
    *,
    vectors: str = "encoder",
    head_size: int = 512,
    smoothing: float = 1e-4,
) -> StaticForSequenceClassification:
    r"""Make a student whose text vector is the mean of token vectors: no layers, and fast on a CPU.

    The vector of a piece is the teacher's mean last hidden state for that piece alone. The vectors are projected on
    their first `dim` principal components, and frequent pieces count less (smooth inverse frequency: Arora et al.,
    2017, https://openreview.net/forum?id=SyK00v5xx, equation 3):

    $$w_i = \frac{a}{a + p_i}, \qquad p_i \propto \frac{1}{i + 2}$$

    Here $a$ is `smoothing`, and $p_i$ is Zipf's law over the order of the vocabulary, which for most tokenizers is
    the order of frequency. This is the recipe of model2vec (https://github.com/MinishLab/model2vec). Special tokens
    get the vector 0. All of it is trained afterwards; the head is random.

    The order of words does not count, so that the student cannot learn negation well. It is a
    [`~hf_distill.students.StaticForSequenceClassification`], which `AutoModelForSequenceClassification` loads after
    `import hf_distill.students`. It needs a much higher learning rate than an encoder, such as 1e-2.

    Args:
        teacher: A classifier of single texts.
        tokenizer: The teacher's tokenizer, and the student's.
        dim: Size of the token vectors, at most the teacher's hidden size.
        vectors: `"encoder"`, as above, which runs the teacher once for each piece of the vocabulary; or
            `"embeddings"` for the teacher's input embeddings in place of its hidden states.
        head_size: Number of neurons of the head.
        smoothing: The constant $a$ of the frequency weights, > 0.

    Returns:
        The student, with float32 weights, on the teacher's device and in eval mode.

    Raises:
        TypeError: if the teacher is not a transformers model.
        ValueError: if the teacher classifies words or has no classification head, or for an impossible value.
    """
    _check(teacher, tokenizer, dim, vectors, smoothing)
    embedded = _encoded_pieces(teacher, tokenizer) if vectors == "encoder" else word_embeddings(teacher)
    projected_VD = _principal_components(embedded, dim)
    ranks_V = torch.arange(len(projected_VD), device=projected_VD.device)
    probabilities_V = 1 / (ranks_V + 2)
    probabilities_V = probabilities_V / probabilities_V.sum()
    weighted_VD = projected_VD * (smoothing / (smoothing + probabilities_V)).unsqueeze(-1)
    weighted_VD[tokenizer.all_special_ids] = 0.0
    student = StaticForSequenceClassification(_config(teacher, len(weighted_VD), dim, head_size))
    student.static.embeddings.weight.data = weighted_VD.float()
    return student.to(teacher.device).eval()  # type: ignore[arg-type]  # transformers hides the signature of `to`


def _check(teacher: Any, tokenizer: PreTrainedTokenizerBase, dim: int, vectors: str, smoothing: float) -> None:
    if not isinstance(teacher, PreTrainedModel):
        raise TypeError(f"`teacher` must be a transformers PreTrainedModel, got {type(teacher).__name__}.")
    if not type(teacher).__name__.endswith("ForSequenceClassification"):
        raise ValueError(
            f"A static student classifies whole texts, and this teacher is a {type(teacher).__name__}. A word's class "
            "depends on the words around it, which a mean of vectors does not see. Pass a sequence classifier."
        )
    if vectors not in ("encoder", "embeddings"):
        raise ValueError(f"`vectors` must be 'encoder' or 'embeddings', got {vectors!r}.")
    most = teacher.config.hidden_size if vectors == "encoder" else word_embeddings(teacher).shape[1]
    if not 1 <= dim <= most:
        raise ValueError(f"`dim` must be from 1 to {most}, the size of the teacher's vectors, got {dim}.")
    if smoothing <= 0:
        raise ValueError(f"`smoothing` must be > 0, got {smoothing}.")
    if len(tokenizer) > teacher.config.vocab_size:
        raise ValueError(
            f"The tokenizer has {len(tokenizer)} pieces, but the teacher has embeddings for "
            f"{teacher.config.vocab_size}. Pass the teacher's own tokenizer."
        )


def _config(teacher: PreTrainedModel, vocab_size: int, dim: int, head_size: int) -> StaticConfig:
    config = StaticConfig(
        vocab_size=vocab_size,
        hidden_size=dim,
        head_size=head_size,
        pad_token_id=teacher.config.pad_token_id,
        id2label=copy.copy(teacher.config.id2label),
        label2id=copy.copy(teacher.config.label2id),
        problem_type=teacher.config.problem_type,
    )
    config.name_or_path, config._commit_hash = teacher.config.name_or_path, commit_of(teacher.config)
    return config


def _encoded_pieces(teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Return the mean last hidden state of every piece alone, `(vocab_size, hidden_size)`."""
    was_training = teacher.training
    teacher.eval()
    with torch.inference_mode():
        states = [
            teacher.base_model(input_ids=ids.to(teacher.device)).last_hidden_state.float().mean(dim=1)
            for ids in _texts_of_one_piece(tokenizer, teacher.config.vocab_size)
        ]
    teacher.train(was_training)
    return torch.cat(states).clone()


def _texts_of_one_piece(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> Iterator[Tensor]:
    """Yield batches of token ids: each piece between the special tokens that the tokenizer adds to a text."""
    example = tokenizer("a", return_special_tokens_mask=True)
    ids, is_special = example["input_ids"], example["special_tokens_mask"]
    first, last = is_special.index(0), len(ids) - is_special[::-1].index(0)
    for pieces in torch.arange(vocab_size).split(_BATCH_SIZE):
        columns = [torch.full_like(pieces, special) for special in ids[:first]]
        columns += [pieces, *(torch.full_like(pieces, special) for special in ids[last:])]
        yield torch.stack(columns, dim=1)


def _principal_components(vectors: Tensor, dim: int) -> Tensor:
    """Return the first `dim` principal components of the rows, in float64."""
    centered = vectors.double() - vectors.double().mean(dim=0)
    _, directions = torch.linalg.eigh(centered.T @ centered)  # in order of increasing variance
    return centered @ directions.flip(1)[:, :dim]
