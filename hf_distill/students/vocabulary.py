"""`trim_vocabulary`: only the pieces that a corpus needs, of the tokenizer and the embeddings together."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

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
    """Keep only the pieces that a corpus needs: of a multilingual model, most of the weights are those of others.

    On the corpus the new pair splits texts into the same pieces and gives exactly the same logits (with `min_count`
    1). Special tokens and tokens that were added stay, in their roles. Other text loses the pieces that the corpus
    does not have: it is split finer, or becomes unknown. The report says how much of `held_out_texts` does.

    The pair may be distilled, or trimmed before distilling: give the trainer the new tokenizer as `processing_class`
    and, if the teacher keeps its own, that as `teacher_processing_class`.

    Args:
        model: With input embeddings, of any head; it is not changed.
        tokenizer: The model's, a fast one: WordPiece, Unigram (as XLM-R's), or BPE (as RoBERTa's). Not changed.
        texts: The corpus; of pairs, both texts.
        min_count: How often a piece must occur in it.
        held_out_texts: Other texts of the kind that the model will see.

    Returns:
        The model, in the dtype and on the device of the given one and in eval mode; the tokenizer; and a report:

        - `pieces`, `parameters`: `{"before", "after"}`;
        - `pieces_not_in_corpus`: how many were kept because other pieces or the tokenizer need them;
        - `changed_texts`: of the corpus, how many are split otherwise than before; 0 with `min_count` 1;
        - `held_out`, None without such texts: `texts`; `pieces`, the number that they were split into; `lost`, the
          share of these that are no longer in the vocabulary; `unknown`, the share of the new pieces that are unknown
          and were not before.

    Raises:
        TypeError: if the model is a PEFT, compiled or wrapped one.
        ValueError: for a slow tokenizer, another kind of tokenizer, an empty corpus, or a tokenizer with more pieces
            than the model has embeddings.

    Example:
    ```python
    student, tokenizer, report = trim_vocabulary(student, tokenizer, corpus, held_out_texts=validation["text"])
    student.save_pretrained("trimmed"), tokenizer.save_pretrained("trimmed")
    ```
    """
    texts, held_out_texts = list(texts), list(held_out_texts)
    _check(model, tokenizer, texts, min_count)
    old_rows = _split(tokenizer, texts)
    counts = Counter(i for row in old_rows for i in row)
    used = {i for i, count in counts.items() if count >= min_count}
    unknown = tokenizer.unk_token_id
    unfinished = [text for text, row in zip(texts, old_rows, strict=True) if unknown in row]
    kept = needed_pieces(tokenizer.backend_tokenizer, used, unfinished)
    kept |= {*tokenizer.all_special_ids, *_fixed_ids(model)}
    new_ids = {old: new for new, old in enumerate(sorted(kept))}
    trimmed_tokenizer = keep_pieces(tokenizer, new_ids)
    trimmed = _keep_rows(model, new_ids)
    changed = _changed(old_rows, _split(trimmed_tokenizer, texts), new_ids)
    assert min_count > 1 or changed == 0, f"{changed} texts are split otherwise: a bug of `needed_pieces`"
    report = {
        "pieces": {"before": model.config.vocab_size, "after": len(new_ids)},
        "parameters": {"before": model.num_parameters(), "after": trimmed.num_parameters()},
        "pieces_not_in_corpus": len(new_ids.keys() - counts.keys()),
        "changed_texts": changed,
        "held_out": _loss(tokenizer, trimmed_tokenizer, held_out_texts, new_ids) if held_out_texts else None,
    }
    return trimmed, trimmed_tokenizer, report


def _check(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], min_count: int) -> None:
    if not isinstance(model, PreTrainedModel):
        raise TypeError(
            f"`model` must be a transformers PreTrainedModel, got {type(model).__name__}. Merge a PEFT model first "
            "(`model.merge_and_unload()`), and unwrap a compiled or parallel one."
        )
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} is a slow tokenizer, whose vocabulary cannot be edited. Load the fast one of "
            "the model, if it has one."
        )
    if min_count < 1:
        raise ValueError(f"`min_count` must be at least 1, got {min_count}.")
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("`texts` must be at least one string; give both texts of a pair as strings of their own.")
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(
            f"The tokenizer has {len(tokenizer)} pieces, the model embeddings for {model.config.vocab_size}. Call "
            "`model.resize_token_embeddings(len(tokenizer))` and train it, or pass the model's own tokenizer."
        )


def _split(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    starts = range(0, len(texts), _BATCH_SIZE)
    batches = (tokenizer(texts[i : i + _BATCH_SIZE], verbose=False)["input_ids"] for i in starts)
    return [row for batch in batches for row in batch]


def _fixed_ids(model: PreTrainedModel) -> set[int]:
    """Return the ids that have to stay for the model's sake."""
    fixed = {i for i in _special_ids(model.config).values() if i < model.config.vocab_size}
    # RoBERTa and its like begin to count positions behind the id of the padding token, which must not change.
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
        setattr(config, name, new_ids.get(i, i))  # an id that is no piece's says nothing
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in type(model)(config).state_dict().items()}
    kept = torch.tensor(sorted(new_ids), device=model.device)
    weights: dict[str, Tensor] = {}
    for name, weight in model.state_dict().items():
        # Embeddings, a language model's output, and its bias: whatever has a row for each piece.
        is_by_piece = weight.shape != shapes.get(name) and len(weight) == model.config.vocab_size
        weights[name] = weight[kept] if is_by_piece else weight
    return build_student(type(model), config, weights, model)


def _changed(old: Sequence[Sequence[int]], new: Sequence[Sequence[int]], new_ids: Mapping[int, int]) -> int:
    return sum([new_ids.get(i) for i in a] != list(b) for a, b in zip(old, new, strict=True))


def _loss(
    old: PreTrainedTokenizerBase,
    new: PreTrainedTokenizerBase,
    texts: Sequence[str],
    new_ids: Mapping[int, int],
) -> dict[str, Any]:
    before = [i for row in _split(old, texts) for i in row]
    after = [i for row in _split(new, texts) for i in row]
    unknown = after.count(new.unk_token_id) - before.count(old.unk_token_id)
    return {
        "texts": len(texts),
        "pieces": len(before),
        "lost": sum(i not in new_ids for i in before) / len(before),
        "unknown": max(unknown, 0) / len(after),
    }
