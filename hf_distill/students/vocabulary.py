"""`trim_vocabulary`: keep only the word pieces that a corpus needs, in the tokenizer and in the embeddings."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.adapters import merge_adapters
from hf_distill.students.layers import build_student
from hf_distill.students.pieces import keep_pieces, needed_pieces

_BATCH_SIZE = 1000


def trim_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    *,
    min_count: int = 1,
    held_out_texts: Iterable[str] = (),
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Any]]:
    """Keep only the word pieces that a corpus needs: most pieces of a multilingual model belong to other languages.

    On the corpus, the new tokenizer splits texts into the same pieces as before, and the new model gives exactly the
    same logits (with `min_count` 1). Special tokens and added tokens are kept with their roles. Other text loses the
    pieces that the corpus does not have: it is split into smaller pieces or becomes unknown. The report says how much
    of `held_out_texts` this concerns.

    Trim a model before or after distillation. To distill a trimmed student, pass the new tokenizer to the trainer as
    `processing_class`, and the teacher's tokenizer as `teacher_processing_class`.

    Args:
        model: A model with input embeddings and any head. It is not changed.
        tokenizer: The model's fast tokenizer: WordPiece, WordLevel, Unigram (e.g. XLM-R) or BPE (e.g. RoBERTa). It is
            not changed.
        texts: The corpus, with both texts of a pair as separate strings.
        min_count: How often a piece must occur in the corpus to be kept.
        held_out_texts: Other texts like the ones that the model will read.

    Returns:
        The trimmed model, with the dtype and device of `model` and in eval mode; the trimmed tokenizer; and a report:

        - `pieces`, `parameters`: their numbers, `{"before", "after"}`;
        - `pieces_not_in_corpus`: number of pieces that are kept because other pieces or the tokenizer need them;
        - `changed_texts`: number of texts in the corpus that are split differently; 0 with `min_count` 1;
        - `held_out`, None without such texts: `texts`, their number; `pieces`, the number of pieces that they had;
          `lost`, the share of these pieces that are no longer in the vocabulary; `unknown`, the share of their new
          pieces that are unknown and were not before.

    Raises:
        TypeError: if the model is a compiled or wrapped model.
        ValueError: for a slow tokenizer, for another kind of tokenizer, for an empty corpus, or if the tokenizer has
            more pieces than the model has embeddings.

    Example:
    ```python
    student, tokenizer, report = trim_vocabulary(student, tokenizer, corpus, held_out_texts=validation["text"])
    student.save_pretrained("trimmed"), tokenizer.save_pretrained("trimmed")
    ```
    """
    texts, held_out_texts = list(texts), list(held_out_texts)
    model = merge_adapters(model)
    _check(model, tokenizer, texts, min_count)
    old_ids = _token_ids(tokenizer, texts)
    counts = Counter(i for ids in old_ids for i in ids)
    used = {i for i, count in counts.items() if count >= min_count}
    with_unknown = [text for text, ids in zip(texts, old_ids, strict=True) if tokenizer.unk_token_id in ids]
    kept = needed_pieces(tokenizer.backend_tokenizer, used, with_unknown)
    kept |= {*tokenizer.all_special_ids, *_fixed_ids(model)}
    new_ids = {old: new for new, old in enumerate(sorted(kept))}
    trimmed_tokenizer = keep_pieces(tokenizer, new_ids)
    trimmed = _keep_rows(model, new_ids)
    num_changed = _count_changed(old_ids, _token_ids(trimmed_tokenizer, texts), new_ids)
    assert min_count > 1 or num_changed == 0, f"{num_changed} texts are split differently: a bug of `needed_pieces`"
    report = {
        "pieces": {"before": model.config.vocab_size, "after": len(new_ids)},
        "parameters": {"before": model.num_parameters(), "after": trimmed.num_parameters()},
        "pieces_not_in_corpus": len(new_ids.keys() - counts.keys()),
        "changed_texts": num_changed,
        "held_out": _lost_shares(tokenizer, trimmed_tokenizer, held_out_texts, new_ids) if held_out_texts else None,
    }
    return trimmed, trimmed_tokenizer, report


def _check(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], min_count: int) -> None:
    if not isinstance(model, PreTrainedModel):
        raise TypeError(
            f"`model` must be a transformers PreTrainedModel, got {type(model).__name__}. Unwrap a compiled or "
            "parallel model."
        )
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} is a slow tokenizer, whose vocabulary cannot be edited. Load the "
            "model's fast tokenizer, if it has one."
        )
    if min_count < 1:
        raise ValueError(f"`min_count` must be at least 1, got {min_count}.")
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("`texts` must be at least one string; pass both texts of a pair as separate strings.")
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(
            f"The tokenizer has {len(tokenizer)} pieces, but the model has embeddings for {model.config.vocab_size}. "
            "Call `model.resize_token_embeddings(len(tokenizer))` and train it, or pass the model's tokenizer."
        )


def _token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    starts = range(0, len(texts), _BATCH_SIZE)
    batches = (tokenizer(texts[i : i + _BATCH_SIZE], verbose=False)["input_ids"] for i in starts)
    return [ids for batch in batches for ids in batch]


def _fixed_ids(model: PreTrainedModel) -> set[int]:
    """Return the ids that the model needs, whatever the corpus."""
    fixed = {i for i in _special_ids(model.config).values() if i < model.config.vocab_size}
    # RoBERTa and similar models count positions from the id of the padding token, so this id must not change.
    for name, module in model.named_modules():
        if (
            name.endswith("position_embeddings")
            and isinstance(module, nn.Embedding)
            and module.padding_idx is not None
        ):
            fixed |= set(range(module.padding_idx + 1))
    return fixed


def _special_ids(config: PreTrainedConfig) -> dict[str, int]:
    return {name: i for name, i in vars(config).items() if name.endswith("_token_id") and isinstance(i, int)}


def _keep_rows(model: PreTrainedModel, new_ids: Mapping[int, int]) -> PreTrainedModel:
    config = copy.deepcopy(model.config)
    config.vocab_size = len(new_ids)
    for name, i in _special_ids(config).items():
        setattr(config, name, new_ids.get(i, i))  # an id beyond the vocabulary stays as it is
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in type(model)(config).state_dict().items()}
    kept = torch.tensor(sorted(new_ids), device=model.device)
    weights: dict[str, Tensor] = {}
    for name, weight in model.state_dict().items():
        # Embeddings, the output layer of a language model and its bias have one row for each piece.
        is_by_piece = weight.shape != shapes.get(name) and len(weight) == model.config.vocab_size
        weights[name] = weight[kept] if is_by_piece else weight
    return build_student(type(model), config, weights, model)


def _count_changed(old: Sequence[Sequence[int]], new: Sequence[Sequence[int]], new_ids: Mapping[int, int]) -> int:
    return sum([new_ids.get(i) for i in a] != list(b) for a, b in zip(old, new, strict=True))


def _lost_shares(
    old: PreTrainedTokenizerBase,
    new: PreTrainedTokenizerBase,
    texts: Sequence[str],
    new_ids: Mapping[int, int],
) -> dict[str, Any]:
    before = [i for ids in _token_ids(old, texts) for i in ids]
    after = [i for ids in _token_ids(new, texts) for i in ids]
    num_unknown = after.count(new.unk_token_id) - before.count(old.unk_token_id)
    return {
        "texts": len(texts),
        "pieces": len(before),
        "lost": sum(i not in new_ids for i in before) / len(before),
        "unknown": max(num_unknown, 0) / len(after),
    }
