"""Reduce a fast tokenizer to some of its word pieces, so that it splits the texts of a corpus as before."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerBase


def needed_pieces(backend: Tokenizer, used: Collection[int], texts: Iterable[str]) -> set[int]:
    """Return the ids that a trimmed tokenizer needs to split the texts of a corpus as the original tokenizer does.

    - WordPiece takes the longest piece that fits, so a used piece needs no other piece. But in a word that becomes
      unknown, the pieces before the unknown part are needed too.
    - Unigram takes the likeliest split, which is still the likeliest one without the other pieces. But the score of a
      character that no piece covers depends on the least likely piece, so that piece must be kept.
    - BPE merges pieces step by step, so a used piece needs the pieces of each step. Byte-level BPE also needs the 256
      bytes.

    Args:
        backend: The original tokenizer.
        used: Ids of the pieces that the texts of the corpus are split into.
        texts: The texts of the corpus that have an unknown piece.

    Raises:
        ValueError: for another kind of tokenizer.
    """
    state = json.loads(backend.to_str())
    model, added = state["model"], {token["id"] for token in state["added_tokens"]}
    kind = model["type"]
    if kind == "WordLevel":
        return {*used, *added}
    if kind == "WordPiece":
        return {*used, *added, *_starts_of_unknown_words(backend, model, texts)}
    if kind == "Unigram":
        scores = [score for _, score in model["vocab"]]
        ids = {piece: i for i, (piece, _) in enumerate(model["vocab"])}
        least_likely = min(range(len(scores)), key=scores.__getitem__)
        # XLM-R's class sets the id of the unknown piece when it is loaded, so all pieces before it must be kept.
        return {*used, *added, least_likely, *range(model["unk_id"] + 1), *_byte_pieces(state, ids)}
    if kind == "BPE" and not model["continuing_subword_prefix"] and not model["end_of_word_suffix"]:
        return {*used, *added, *_merged_pieces(model, used), *_byte_pieces(state, model["vocab"])}
    raise ValueError(
        f"The vocabulary of this {kind} tokenizer cannot be trimmed. Supported are WordPiece, Unigram, WordLevel, and "
        "BPE without prefixes and suffixes."
    )


def keep_pieces(tokenizer: PreTrainedTokenizerBase, new_ids: Mapping[int, int]) -> PreTrainedTokenizerBase:
    """Return a tokenizer with some of the pieces.

    Args:
        tokenizer: The original tokenizer, which is not changed.
        new_ids: Ids of the pieces to keep -> their new ids.
    """
    with tempfile.TemporaryDirectory() as temporary:
        # Edit its files and load them, so that the result is what a later `from_pretrained` returns.
        tokenizer.save_pretrained(temporary)
        path = Path(temporary) / "tokenizer.json"
        state = json.loads(path.read_text(encoding="utf-8"))
        _trim_model(state["model"], new_ids)
        for token in state["added_tokens"]:
            token["id"] = new_ids[token["id"]]
        state["post_processor"] = _renumbered(state["post_processor"], new_ids)
        state["padding"] = state["truncation"] = None  # transformers sets both at each call
        path.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        trimmed = type(tokenizer).from_pretrained(temporary, trust_remote_code=False)
    trimmed.name_or_path = tokenizer.name_or_path
    return trimmed


def _trim_model(model: dict[str, Any], new_ids: Mapping[int, int]) -> None:
    if model["type"] == "Unigram":
        model["vocab"] = [entry for i, entry in enumerate(model["vocab"]) if i in new_ids]
        model["unk_id"] = new_ids[model["unk_id"]]
        return
    model["vocab"] = {piece: new_ids[i] for piece, i in model["vocab"].items() if i in new_ids}
    if model["type"] == "BPE":
        kept = model["vocab"].keys()
        merges = map(_merge, model["merges"])
        model["merges"] = [[a, b] for a, b in merges if a in kept and b in kept and a + b in kept]


def _renumbered(processor: Any, new_ids: Mapping[int, int]) -> Any:
    """Return a post-processor with new ids for the special tokens that it adds."""
    if isinstance(processor, list):
        return [_renumbered(part, new_ids) for part in processor]
    if not isinstance(processor, dict):
        return processor
    renumbered = {}
    for name, value in processor.items():
        if name in ("sep", "cls"):  # BertProcessing, RobertaProcessing: [token, id]
            value = [value[0], new_ids[value[1]]]
        elif name == "special_tokens":  # TemplateProcessing
            value = {token: {**spec, "ids": [new_ids[i] for i in spec["ids"]]} for token, spec in value.items()}
        else:
            value = _renumbered(value, new_ids)
        renumbered[name] = value
    return renumbered


def _byte_pieces(state: dict[str, Any], vocab: Mapping[str, int]) -> set[int]:
    """Return the ids of the pieces that stand for single bytes, if the tokenizer falls back to bytes."""
    names: list[str] = []
    if state["model"]["byte_fallback"]:
        names = [f"<0x{byte:02X}>" for byte in range(256)]
    if '"ByteLevel"' in json.dumps([state["normalizer"], state["pre_tokenizer"]]):
        names += ByteLevel.alphabet()
    return {vocab[name] for name in names if name in vocab}


def _merge(entry: str | list[str]) -> list[str]:
    return entry.split(" ") if isinstance(entry, str) else entry


def _merged_pieces(model: dict[str, Any], used: Collection[int]) -> set[int]:
    """Return the ids of the pieces from which BPE merges the used pieces, at each step.

    No merge in a word crosses the border of a final piece, so each piece can be merged by itself.
    """
    vocab, ranks = model["vocab"], {tuple(_merge(entry)): rank for rank, entry in enumerate(model["merges"])}
    pieces = {i: piece for piece, i in vocab.items()}
    parts = set()
    for i in used:
        symbols = list(pieces.get(i, ""))  # an added token is not in the vocabulary and is not merged
        while True:
            parts |= {vocab[symbol] for symbol in symbols if symbol in vocab}
            pairs = [
                (ranks[pair], at) for at, pair in enumerate(zip(symbols, symbols[1:], strict=False)) if pair in ranks
            ]
            if not pairs:
                break
            _, at = min(pairs)
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    return parts


def _starts_of_unknown_words(backend: Tokenizer, model: dict[str, Any], texts: Iterable[str]) -> set[int]:
    """Return the ids of the pieces that WordPiece matches at the start of words that then become unknown."""
    vocab, prefix = model["vocab"], model["continuing_subword_prefix"]
    matched = set()
    for text in texts:
        normalized = backend.normalizer.normalize_str(text) if backend.normalizer else text
        words = backend.pre_tokenizer.pre_tokenize_str(normalized) if backend.pre_tokenizer else [(normalized, None)]
        for word, _ in words:
            start = 0
            while start < len(word):
                piece_prefix = prefix if start else ""
                ends = range(len(word), start, -1)
                end = next((end for end in ends if piece_prefix + word[start:end] in vocab), None)
                if end is None:
                    break
                matched.add(vocab[piece_prefix + word[start:end]])
                start = end
    return matched
