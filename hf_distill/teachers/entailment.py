"""A natural language inference model as a judge of hypotheses about texts."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.label_maps import class_names_of


class EntailmentModel:
    """A model that says whether a text entails a hypothesis.

    Args:
        model: A sequence classifier with a class whose name starts with "entail".
        tokenizer: Its tokenizer.
        max_length: Number of tokens of text and hypothesis after which the text is cut.

    Raises:
        ValueError: if no class is called entailment, or several are.

    Attributes:
        entailment: Id of the class entailment.
        contradiction: Id of the class contradiction, or of the other class of two; None if there is none.
        width: Number of values that [`EntailmentModel.judge`] returns for each text.
    """

    kind = "entailment"

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.model, self.tokenizer, self.max_length = model.eval().requires_grad_(False), tokenizer, max_length
        names = [name.casefold() for name in class_names_of(model.config)]
        entailment = [i for i, name in enumerate(names) if name.startswith("entail")]
        if len(entailment) != 1:
            raise ValueError(
                f"The classes of {model.config.name_or_path!r} are {', '.join(class_names_of(model.config))}, and a "
                "zero-shot teacher needs one that is called entailment. Name a natural language inference model, or a "
                "sentence encoder (a model without a head), or set `id2label` in the config."
            )
        self.entailment, self.width = entailment[0], len(names)
        contradiction = [i for i, name in enumerate(names) if name.startswith("contradict")]
        if len(names) == 2:
            contradiction = [1 - self.entailment]
        self.contradiction = contradiction[0] if contradiction else None

    @torch.no_grad()
    def judge(self, texts: Sequence[str], hypothesis: str) -> Tensor:
        """Return the logits of the classes for one hypothesis about each text, `(len(texts), width)`."""
        batch = self.tokenizer(
            list(texts),
            [hypothesis] * len(texts),
            truncation="only_first",
            max_length=self.max_length,
            padding=True,
            return_tensors="pt",
        )
        return self.model(**batch.to(self.model.device)).logits.float()
