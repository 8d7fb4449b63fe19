"""Tiny random models, a tokenizer and data, built in code and importable by scripts that run in other processes."""

import copy
import logging as python_logging
import random
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from datasets import ClassLabel, Dataset, Features, Value
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

WORDS = "a the film is was not very good bad great awful boring fun plot actor scene warm cold slow fast".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LABEL_NAMES = ["negative", "neutral", "positive"]
TINY = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,  # ten times BERT's value; with BERT's, all rows get the same logits
}


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one id for each word, BERT's special tokens and segment ids."""
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


_Teacher = TypeVar("_Teacher")
_known_models: dict[str, BertForSequenceClassification] = {}
_known_datasets: dict[str, Dataset] = {}


def copy_model(model: _Teacher) -> _Teacher:
    """Return what `copy.deepcopy` returns, of a model in a third of the time: each of its modules has ten empty dicts.

    A teacher that is not a model (a function, None, ...) can be copied as well.
    """
    if not isinstance(model, PreTrainedModel):
        return copy.deepcopy(model)
    memo = {id(module): object.__new__(type(module)) for module in model.modules()}
    for module in model.modules():
        vars(memo[id(module)]).update(
            (name, type(value)() if type(value) in (dict, OrderedDict) and not value else copy.deepcopy(value, memo))
            for name, value in vars(module).items()
        )
    return memo[id(model)]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the random numbers of this block, and only of this block.

    `torch.manual_seed` also seeds the devices that are not there, which takes a hundred times as long.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def sharpen(model: torch.nn.Module, factor: float = 10.0) -> None:
    """Scale the head: a random model has near-uniform logits, and every test of KL would pass vacuously."""
    with torch.no_grad():
        model.classifier.weight.mul_(factor)


def tiny_model(
    num_hidden_layers: int = 2, num_labels: int = 3, seed: int = 0, **config
) -> BertForSequenceClassification:
    """A random BERT classifier without dropout, its head sharpened. Each is built once, and the others are copies."""
    labels = LABEL_NAMES if num_labels == 3 else [f"class {i}" for i in range(num_labels)]
    config = {
        **TINY,
        "num_hidden_layers": num_hidden_layers,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
        **config,
    }
    key = f"{seed} {config}"
    if key not in _known_models:
        with seeded(seed):
            model = BertForSequenceClassification(BertConfig(**config))
        sharpen(model)
        _known_models[key] = model.eval()
    return copy_model(_known_models[key])


def tiny_tagger(*names: str) -> BertForTokenClassification:
    """A random BERT with one layer that gives each word one of these tags."""
    config = BertConfig(
        **TINY,
        num_hidden_layers=1,
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    with seeded(0):
        model = BertForTokenClassification(config).eval()
    sharpen(model)
    return model


def named_model(*names: str, **config) -> BertForSequenceClassification:
    """A tiny classifier with these class names, in the order of its outputs."""
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    return tiny_model(1, len(names), **labels, **config)


def tiny_gpt2(seed: int = 0, **config) -> GPT2ForSequenceClassification:
    """Return a random decoder without dropout that classifies texts by their last token."""
    config = {
        "vocab_size": TINY["vocab_size"],
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 64,
        "initializer_range": 0.4,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "num_labels": 3,
        "pad_token_id": 0,
        **config,
    }
    with seeded(seed):
        return GPT2ForSequenceClassification(GPT2Config(**config)).eval()


def tiny_rows(num_rows: int = 32, seed: int = 0) -> list[dict]:
    """Sentence pairs of 2 to 12 words and a label that the words decide."""
    draw = random.Random(seed)
    rows = []
    for _ in range(num_rows):
        words = draw.choices(WORDS, k=draw.randint(2, 12))
        score = sum(w in ("good", "great", "fun", "warm") for w in words)
        score -= sum(w in ("bad", "awful", "boring", "cold") for w in words)
        label = 1 + (score > 0) - (score < 0)
        rows.append({"text": " ".join(words), "text_pair": " ".join(draw.choices(WORDS, k=3)), "label": label})
    return rows


def tiny_dataset(tokenizer, num_rows: int = 32, seed: int = 0) -> Dataset:
    """`tiny_rows` tokenized as pairs, with columns `text`, `text_pair`, `labels`, `input_ids`, ...

    Each is tokenized once, and the others are copies.
    """
    key = f"{num_rows} {seed} {tokenizer.model_input_names} {tokenizer.backend_tokenizer.to_str()}"
    if key not in _known_datasets:
        names = ClassLabel(names=LABEL_NAMES)
        features = Features({"text": Value("string"), "text_pair": Value("string"), "label": names})
        rows = Dataset.from_list(tiny_rows(num_rows, seed), features=features)
        tokenized = rows.map(lambda row: tokenizer(row["text"], row["text_pair"]), batched=True)
        _known_datasets[key] = tokenized.rename_column("label", "labels")
    return copy.deepcopy(_known_datasets[key])


class visible_to_caplog:
    """Let caplog see the warnings of a logger of the transformers library, which does not propagate by itself.

    Earlier tests can have changed the level of the library.
    """

    def __init__(self, name: str):
        self.logger = logging.get_logger(name)

    def __enter__(self):
        self.handler, self.level = python_logging.getLogger().handlers[-1], self.logger.level
        self.logger.addHandler(self.handler)
        if not self.logger.isEnabledFor(python_logging.WARNING):
            self.logger.setLevel(python_logging.WARNING)

    def __exit__(self, *_):
        self.logger.removeHandler(self.handler)
        self.logger.setLevel(self.level)
