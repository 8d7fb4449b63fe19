"""A teacher that needs no labels: it compares texts with descriptions of the classes."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.auto import AutoConfig, AutoModel, AutoModelForSequenceClassification
from hf_distill.classifiers.loading import explaining_load_errors, load_pretrained, load_pretrained_tokenizer
from hf_distill.teachers.entailment import EntailmentModel
from hf_distill.teachers.prior_correction import PriorCorrection
from hf_distill.teachers.sentence_encoder import SentenceEncoder, read_pooling
from hf_distill.utils.hub_names import split_revision

# The default of the zero-shot pipeline of transformers. A sentence encoder compares with the bare description.
DEFAULT_TEMPLATES = {EntailmentModel.kind: "This example is {}.", SentenceEncoder.kind: "{}"}


class ZeroShotTeacher:
    r"""A teacher for classes that it was not trained on, from descriptions of the classes.

    A natural language inference model judges a hypothesis for each class, as the pipeline
    "zero-shot-classification" of transformers does: the logit of a class is the logit of entailment (Yin et al. 2019,
    https://huggingface.co/papers/1909.00161), and with `multi_label` the logit of entailment minus that of
    contradiction. A sentence encoder compares a text with each description: the logit is their cosine divided by
    `temperature`.

    Pass it as `teacher_model`. The Trainer stores the judgments of each hypothesis, or the vectors of the texts, so
    that only what is new is computed: with another class, an entailment model judges one hypothesis more.

    A teacher can prefer some classes, whatever the text is. `prior_correction` finds a bias of each class and
    subtracts it from the logits:

    - "uniform": the bias with which all classes have the same mean probability on the texts that the teacher labels
      first; a Trainer starts with its training rows. It fits classes that are about equally frequent in these texts.
      See [`~hf_distill.teachers.prior_correction.uniform_bias`].
    - "estimated": the logarithm of the class probabilities of three texts without content, "N/A", "[MASK]" and the
      empty text. It takes nothing for granted about how frequent the classes are. See
      [`~hf_distill.teachers.prior_correction.content_free_bias`].

    The bias is found once; make a new teacher for other texts. The stored judgments and vectors are not corrected, so
    with another `prior_correction` the teacher does not run again ("estimated" runs it once on its three texts). With
    several labels for a text there is no correction: "uniform" would need the share of texts that have each label, and
    a text without content rightly has no label.

    Args:
        model: Path or Hub id of the model, or the model itself. A sequence classifier must have a class that is called
            entailment; a model without a head is a sentence encoder.
        candidate_labels: Names of the classes, or a dict from names to descriptions.
        hypothesis_template: A text with `{}` in place of the description. None for "This example is {}." with an
            entailment model, and for "{}" with a sentence encoder.
        multi_label: Whether a text can have several classes or none; only with an entailment model.
        tokenizer: The tokenizer, if `model` is a model.
        prior_correction: "none", "uniform" or "estimated", see above.
        temperature: Temperature of a sentence encoder, > 0. The default is the one that sentence-transformers trains
            with, where it is called scale, 20.
        max_length: Number of tokens after which a text is cut.
        revision: Branch, tag or commit of the model on the Hub.
        trust_remote_code: Whether to run Python code that comes with the model.

    Raises:
        ValueError: for labels or descriptions that repeat or are empty, a template without one `{}`, a `temperature`
            that is not > 0, a `prior_correction` that does not exist or that comes with `multi_label`, or a model
            that is neither of the two.
        OSError: if the model or its tokenizer cannot be loaded.
    """

    def __init__(
        self,
        model: PreTrainedModel | str | os.PathLike[str],
        candidate_labels: Sequence[str] | Mapping[str, str],
        hypothesis_template: str | None = None,
        multi_label: bool = False,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        prior_correction: str = "none",
        temperature: float = 0.05,
        max_length: int = 128,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        descriptions = _describe(candidate_labels)
        _check_template(hypothesis_template)
        if len(descriptions) < 2 and not multi_label:
            raise ValueError(f"One class, {', '.join(descriptions)!r}, leaves nothing to decide. Name two or more.")
        if not temperature > 0:
            raise ValueError(f"`temperature` must be > 0, got {temperature}.")
        self.labels, self.multi_label, self.temperature = list(descriptions), multi_label, temperature
        self.prior = PriorCorrection(prior_correction, self.labels)
        if multi_label and prior_correction != "none":
            raise ValueError(
                f"`prior_correction` is {prior_correction!r}, and it is for texts of exactly one class: with several "
                "labels for a text, the share of texts that have a label is not known. Leave it at 'none'."
            )
        if isinstance(model, PreTrainedModel):
            if tokenizer is None:
                raise ValueError("A model needs its `tokenizer`. Pass it, or pass the path or Hub id of the model.")
            self.scorer = _make_scorer(model, tokenizer, max_length, "mean")
        else:
            self.scorer = _load(os.fspath(model), max_length, revision, trust_remote_code)
        template = DEFAULT_TEMPLATES[self.scorer.kind] if hypothesis_template is None else hypothesis_template
        self.hypotheses = [template.replace("{}", description) for description in descriptions.values()]
        if multi_label:
            self._check_multi_label()

    def _check_multi_label(self) -> None:
        if isinstance(self.scorer, SentenceEncoder):
            raise ValueError(
                "`multi_label` needs an entailment model: the cosine of a sentence encoder does not say from where on "
                "a class is present. Name a natural language inference model."
            )
        if self.scorer.contradiction is None:
            raise ValueError("`multi_label` needs a model with a class that is called contradiction.")

    @property
    def model(self) -> PreTrainedModel:
        """The model."""
        return self.scorer.model

    @property
    def problem_type(self) -> str:
        """The problem type of the classes."""
        return "multi_label_classification" if self.multi_label else "single_label_classification"

    def describe(self) -> dict[str, Any]:
        """Return what makes the answers of this model these answers, for the record."""
        scaled = {"temperature": self.temperature} if isinstance(self.scorer, SentenceEncoder) else {}
        corrected = {} if self.prior.method == "none" else {"prior_correction": self.prior.method}
        return {
            "kind": self.scorer.kind,
            "hypotheses": dict(zip(self.labels, self.hypotheses, strict=True)),
            "multi_label": self.multi_label,
            "max_length": self.scorer.max_length,
            **scaled,
            **corrected,
        }

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the logits of the classes for some texts, `(len(texts), num_labels)`, without a store.

        Raises:
            TypeError: unless `texts` is a list of texts.
            ValueError: for `prior_correction="uniform"` before the bias is known.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"A zero-shot teacher reads a list of texts, got {texts!r:.80}.")
        if not len(texts):
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        if self.prior.is_pending:
            if self.prior.method == "uniform":
                raise ValueError(
                    "`prior_correction='uniform'` finds the bias of the classes on many texts. Call "
                    "`fit_prior(texts)` first, as a Trainer does with its training rows."
                )
            self.fit_prior([])
        return self.prior.apply(self._uncorrected_logits(texts))

    def fit_prior(self, texts: Sequence[str]) -> None:
        """Find the bias of `prior_correction`; "estimated" has its own texts.

        Raises:
            ValueError: for "uniform", if there are fewer different texts than classes, or if no bias is found.
        """
        self.prior.fit(self._uncorrected_logits(self.prior.choose_texts(texts)))

    def _uncorrected_logits(self, texts: Sequence[str]) -> np.ndarray:
        if isinstance(self.scorer, SentenceEncoder):
            return self.combine([self.scorer.embed(texts).cpu().numpy()])
        return self.combine([self.scorer.judge(texts, hypothesis).cpu().numpy() for hypothesis in self.hypotheses])

    def combine(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """Return the logits of the classes without correction, `(num_texts, num_labels)` in float32.

        Args:
            outputs: For each hypothesis what [`EntailmentModel.judge`] returns; of a sentence encoder only the vectors
                of the texts.
        """
        scorer = self.scorer
        if isinstance(scorer, SentenceEncoder):
            classes = scorer.embed(self.hypotheses).cpu().numpy()
            return (outputs[0] @ classes.T / self.temperature).astype(np.float32)
        judged = np.stack(outputs, axis=1)  # (num_texts, num_labels, width)
        logits = judged[..., scorer.entailment]
        if self.multi_label:
            logits = logits - judged[..., scorer.contradiction]
        return logits.astype(np.float32)


def _describe(candidate_labels: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Return name -> description."""
    if isinstance(candidate_labels, str):
        raise TypeError(f"`candidate_labels` must be a list of names or a dict, got the text {candidate_labels!r}.")
    if not isinstance(candidate_labels, Mapping | Sequence):
        raise TypeError(
            "`candidate_labels` must be a list of names or a dict, whose order is the order of the classes, got a "
            f"{type(candidate_labels).__name__}."
        )
    if isinstance(candidate_labels, Mapping):
        pairs = list(candidate_labels.items())
    else:
        pairs = [(name, name) for name in candidate_labels]
    if odd := [value for pair in pairs for value in pair if not isinstance(value, str)]:
        raise TypeError(f"Names and descriptions of `candidate_labels` must be texts, got {odd[0]!r}.")
    for what, values in (("Candidate labels", [name for name, _ in pairs]), ("Descriptions", [d for _, d in pairs])):
        folded = [value.strip().casefold() for value in values]
        if "" in folded:
            raise ValueError(f"{what} must not be empty, got {values}.")
        if repeated := sorted({value for value in folded if folded.count(value) > 1}):
            raise ValueError(
                f"{what} repeat: {', '.join(repeated)}. Upper and lower case are the same. Name each once."
            )
    return dict(pairs)


def _check_template(template: str | None) -> None:
    if template is not None and template.count("{}") != 1:
        raise ValueError(
            f"`hypothesis_template` must contain `{{}}` once, where the description of the class goes, got "
            f"{template!r}. An example is 'This text is about {{}}.'"
        )


def _load(
    name_or_path: str, max_length: int, revision: str | None, trust_remote_code: bool
) -> EntailmentModel | SentenceEncoder:
    name_or_path, revision = split_revision(name_or_path, revision)
    revision = revision or "main"
    with explaining_load_errors("The teacher", name_or_path):
        config = AutoConfig.from_pretrained(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
        class_name = next(iter(config.architectures or []), "")
        is_classifier = _kind_of(class_name, name_or_path) == EntailmentModel.kind
        model, missing_weights = load_pretrained(
            AutoModelForSequenceClassification if is_classifier else AutoModel,
            name_or_path,
            {"revision": revision, "dtype": torch.float32},
            trust_remote_code=trust_remote_code,
        )
        tokenizer = load_pretrained_tokenizer(name_or_path, revision, trust_remote_code)
    if is_classifier and missing_weights:
        raise ValueError(f"{name_or_path} has no weights for {missing_weights}, so its answers would be random.")
    pooling = "mean" if is_classifier else read_pooling(name_or_path, revision)
    return _make_scorer(model, tokenizer, max_length, pooling)


def _kind_of(class_name: str, name: str | None) -> str:
    if class_name.endswith("ForSequenceClassification"):
        return EntailmentModel.kind
    if class_name.endswith("Model"):
        return SentenceEncoder.kind
    raise ValueError(
        f"{name!r} is a {class_name or 'model of unknown class'}. A zero-shot teacher is a natural language inference "
        "model (...ForSequenceClassification), or a sentence encoder without a head (...Model)."
    )


def _make_scorer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int, pooling: str
) -> EntailmentModel | SentenceEncoder:
    max_length = min(max_length, tokenizer.model_max_length)
    if _kind_of(type(model).__name__, model.config.name_or_path) == EntailmentModel.kind:
        return EntailmentModel(model, tokenizer, max_length)
    return SentenceEncoder(model, tokenizer, max_length, pooling)
