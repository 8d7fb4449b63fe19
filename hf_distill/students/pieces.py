"""A fast tokenizer with only some of its pieces, which splits the texts of a corpus as it did before."""

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
    """Return the ids that a trimmed tokenizer needs so that it splits `texts` as the whole one does.

    - A piece of WordPiece or Unigram needs no other. WordPiece takes the longest piece that fits: if that is there,
      no shorter one is taken. But in a word that ends as unknown, the pieces before that point are needed, too.
    - Unigram takes the likeliest split, which stays it when others go; but what it gives for a character that no
      piece covers is measured from the least likely piece, which has to stay.
    - A piece of BPE needs those that it is merged of, step by step, and byte-level BPE the 256 bytes.

    Args:
        backend: Of the whole tokenizer.
        used: Ids of the pieces that the texts are split into.
        texts: Those that hold an unknown piece.

    Raises:
        ValueError: for another kind of tokenizer.
    """
    state = json.loads(backend.to_str())
    model, added = state["model"], {token["id"] for token in state["added_tokens"]}
    kind = model["type"]
    if kind == "WordLevel":
        return {*used, *added}
    if kind == "WordPiece":
        return {*used, *added, *_unfinished_words(backend, model, texts)}
    if kind == "Unigram":
        scores = [score for _, score in model["vocab"]]
        ids = {piece: i for i, (piece, _) in enumerate(model["vocab"])}
        least = min(range(len(scores)), key=scores.__getitem__)
        # XLM-R's class writes the unknown piece's id into its code when it is loaded: nothing before it may go.
        return {*used, *added, least, *range(model["unk_id"] + 1), *_bytes(state, ids)}
    if kind == "BPE" and not model["continuing_subword_prefix"] and not model["end_of_word_suffix"]:
        return {*used, *added, *_parts(model, used), *_bytes(state, model["vocab"])}
    raise ValueError(
        f"The vocabulary of a tokenizer of the kind {kind} cannot be trimmed; that of WordPiece, Unigram, WordLevel "
        "and of BPE without prefixes and suffixes can."
    )


def keep_pieces(tokenizer: PreTrainedTokenizerBase, new_ids: Mapping[int, int]) -> PreTrainedTokenizerBase:
    """Return a tokenizer with only the pieces that `new_ids` names, under the ids that it gives them."""
    with tempfile.TemporaryDirectory() as temporary:
        # Through its own files: what comes back is what a later `from_pretrained` will give.
        tokenizer.save_pretrained(temporary)
        path = Path(temporary) / "tokenizer.json"
        state = json.loads(path.read_text(encoding="utf-8"))
        _trim_model(state["model"], new_ids)
        for token in state["added_tokens"]:
            token["id"] = new_ids[token["id"]]
        state["post_processor"] = _renumbered(state["post_processor"], new_ids)
        state["padding"] = state["truncation"] = None  # transformers sets them at each call
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
    """Return a post-processor with the new ids of the special tokens that it adds."""
    if isinstance(processor, list):
        return [_renumbered(part, new_ids) for part in processor]
    if not isinstance(processor, dict):
        return processor
    renumbered = {}
    for name, value in processor.items():
        if name in ("sep", "cls"):  # BertProcessing, RobertaProcessing: [token, id]
            value = [value[0], new_ids[value[1]]]
        elif name == "special_tokens":  # TemplateProcessing
            value = {token: {**said, "ids": [new_ids[i] for i in said["ids"]]} for token, said in value.items()}
        else:
            value = _renumbered(value, new_ids)
        renumbered[name] = value
    return renumbered


def _bytes(state: dict[str, Any], vocab: Mapping[str, int]) -> set[int]:
    """Return the pieces that stand for single bytes, where any text is made of such in the end."""
    names: list[str] = []
    if state["model"]["byte_fallback"]:
        names = [f"<0x{byte:02X}>" for byte in range(256)]
    if '"ByteLevel"' in json.dumps([state["normalizer"], state["pre_tokenizer"]]):
        names += ByteLevel.alphabet()
    return {vocab[name] for name in names if name in vocab}


def _merge(entry: str | list[str]) -> list[str]:
    return entry.split(" ") if isinstance(entry, str) else entry


def _parts(model: dict[str, Any], used: Collection[int]) -> set[int]:
    """Return what the used pieces of BPE are merged of, at each step.

    In a word, no merge crosses the border of a piece that it ends as, so the steps are those of the piece alone.
    """
    vocab, ranks = model["vocab"], {tuple(_merge(entry)): rank for rank, entry in enumerate(model["merges"])}
    pieces = {i: piece for piece, i in vocab.items()}
    parts = set()
    for i in used:
        symbols = list(pieces.get(i, ""))  # none: a token that was added, which is not merged
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


def _unfinished_words(backend: Tokenizer, model: dict[str, Any], texts: Iterable[str]) -> set[int]:
    """Return the pieces that WordPiece takes at the beginning of words before it finds that they are unknown."""
    vocab, prefix = model["vocab"], model["continuing_subword_prefix"]
    taken = set()
    for text in texts:
        normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
        words = backend.pre_tokenizer.pre_tokenize_str(normal) if backend.pre_tokenizer else [(normal, None)]
        for word, _ in words:
            start = 0
            while start < len(word):
                begin = prefix if start else ""
                ends = range(len(word), start, -1)
                end = next((end for end in ends if begin + word[start:end] in vocab), None)
                if end is None:
                    break
                taken.add(vocab[begin + word[start:end]])
                start = end
    return taken
