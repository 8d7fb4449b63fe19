"""Words that a masked language model proposes for a place in a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_distill.data.neighbors import whole_words

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NUM_PROPOSALS = 15  # as many as TinyBERT's augmentation draws from
_NUM_RANKED = 3 * NUM_PROPOSALS  # the, The and THE are one word


class WordProposals:
    """Proposes words with a masked language model, as Jiao et al. (2020, section 4.1) do for data augmentation.

    All words of a text that are to be replaced are masked at once, each by one mask token. The proposals are the most
    probable whole words of letters (https://huggingface.co/papers/1909.10351).

    Args:
        model: A model with a head for masked words.
        tokenizer: The model's tokenizer. Load a RoBERTa tokenizer with `add_prefix_space=True`.
        max_length: Number of tokens after which texts are cut.
        batch_size: Number of texts that the model reads at once.

    Raises:
        ValueError: if the tokenizer is slow, or has no mask token, no padding token, or no whole words.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int = 128,
        batch_size: int = 32,
    ) -> None:
        from hf_distill.classifiers.token_ids import TokenLimits

        name = tokenizer.name_or_path or type(tokenizer).__name__
        if not tokenizer.is_fast:
            raise ValueError(
                f"The tokenizer {name!r} is slow, and does not say which word a token belongs to. Use a masked "
                "language model with a fast tokenizer."
            )
        for kind, token in (("mask", tokenizer.mask_token), ("padding", tokenizer.pad_token)):
            if token is None:
                raise ValueError(f"The tokenizer {name!r} has no {kind} token. Use another masked language model.")
        words = whole_words(tokenizer, model.config.vocab_size)
        if not words:
            raise ValueError(
                f"The tokenizer {name!r} has no pieces that are whole words of letters. Use another masked language "
                "model."
            )
        num_positions = TokenLimits.of(model, "masked language model").num_positions
        self.model, self.tokenizer, self.batch_size = model.eval(), tokenizer, batch_size
        self.max_length = int(min(max_length, tokenizer.model_max_length, num_positions))
        self._words, self._ids = list(words), torch.tensor(list(words.values()), device=model.device)
        self._known = {word.lower() for word in words}

    def mask(self, _: np.random.Generator, word: str) -> str | None:
        """Return the mask token for a word that could be proposed itself; None for another word, which stays."""
        return str(self.tokenizer.mask_token) if word.lower() in self._known else None

    def propose(self, texts: Sequence[Sequence[str]], places: Sequence[Sequence[int]]) -> list[list[list[str]]]:
        """Propose words for the masked places of texts.

        Args:
            texts: Lists of words, in which the words to replace contain the mask token.
            places: For each text, the places of these words.

        Returns:
            For each text and place up to 45 words, the most probable first; words that differ by capitals count
            separately. The list is empty for a place after the first `max_length` tokens.
        """
        proposals: list[list[list[str]]] = [[] for _ in texts]
        order = np.argsort([-len(words) for words in texts], kind="stable").tolist()  # little padding
        batches = range(0, len(order), self.batch_size)
        for start in tqdm(batches, desc="Proposing words", unit="batch", leave=False):
            rows = order[start : start + self.batch_size]
            batch = self._propose([texts[row] for row in rows], [places[row] for row in rows])
            for row, words in zip(rows, batch, strict=True):
                proposals[row] = words
        return proposals

    @torch.inference_mode()
    def _propose(self, texts: list[Sequence[str]], places: list[Sequence[int]]) -> list[list[list[str]]]:
        encoding = self.tokenizer(
            [list(words) for words in texts],
            is_split_into_words=True,
            truncation=True,
            max_length=self.max_length,
            padding=True,
            return_tensors="pt",
        )
        logits = self.model(**encoding.to(self.model.device)).logits[..., self._ids]
        best = logits.topk(min(_NUM_RANKED, len(self._ids)), dim=-1).indices.cpu()
        is_mask = (encoding["input_ids"] == self.tokenizer.mask_token_id).cpu()
        proposals = []
        for row, places_of_text in enumerate(places):
            words = encoding.word_ids(row)
            token_of = {word: i for i, word in enumerate(words) if word is not None and is_mask[row, i]}
            proposals.append(
                [
                    [self._words[i] for i in best[row, token_of[place]].tolist()] if place in token_of else []
                    for place in places_of_text
                ]
            )
        return proposals
