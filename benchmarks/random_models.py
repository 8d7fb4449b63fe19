"""Make random models of any size and a tokenizer in code."""

import torch
from datasets import disable_progress_bars
from tokenizers import Tokenizer, models
from tqdm.auto import tqdm
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
from transformers.utils import logging

from hf_distill.cache import output_cache

VOCABULARY = 1000


def prepare_process() -> None:
    """Use one thread, and hide progress bars and warnings about untrained models."""
    torch.set_num_threads(1)  # on a busy machine several threads wait for each other, and times vary tenfold
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    disable_progress_bars()
    output_cache.tqdm = lambda *_, **settings: tqdm(**{**settings, "disable": True})


def make_model(
    num_labels: int,
    hidden_size: int,
    num_hidden_layers: int,
    seed: int,
    num_attention_heads: int = 2,
    max_position_embeddings: int = 64,
) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden_size,
        num_hidden_layers=num_hidden_layers,
        num_attention_heads=num_attention_heads,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=max_position_embeddings,
        num_labels=num_labels,
    )
    return BertForSequenceClassification(config)


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
