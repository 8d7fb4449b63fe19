"""Make up texts in the layout of real datasets, and a tiny random encoder, to check that a benchmark runs."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

NUM_ROWS = 160  # in each file


def make_up(folder: Path) -> None:
    """Write made-up texts in the layout of the real data, and a tiny random encoder with its tokenizer."""
    generator, words = random.Random(0), [f"word{i}" for i in range(40)]

    def rows(*columns: str) -> Iterator[list[str]]:
        for i in range(NUM_ROWS):
            texts = [" ".join(generator.choices(words, k=8)) for _ in columns]
            yield [*texts, str(i % 2)]

    for path, header, names in [
        ("glue/SST-2/train.tsv", ["sentence", "label"], ["0", "1"]),
        ("glue/SST-2/dev.tsv", ["sentence", "label"], ["0", "1"]),
        ("glue/MRPC/train.tsv", ["#1 String", "#2 String", "Quality"], ["0", "1"]),
        ("glue/MRPC/dev.tsv", ["#1 String", "#2 String", "Quality"], ["0", "1"]),
        ("glue/QNLI/dev.tsv", ["question", "sentence", "label"], ["entailment", "not_entailment"]),
        ("banking77/train.csv", ["text", "category"], ["card", "cash"]),
        ("banking77/test.csv", ["text", "category"], ["card", "cash"]),
        ("newsgroups/train.csv", ["text", "category"], ["sci.med", "rec.autos"]),
        ("newsgroups/test.csv", ["text", "category"], ["sci.med", "rec.autos"]),
    ]:
        separator = "," if path.endswith("csv") else "\t"
        lines = [separator.join(header)]
        lines += [separator.join([*texts, names[int(label)]]) for *texts, label in rows(*header[:-1])]
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    num_tokens = save_word_tokenizer(words, folder / "encoder")
    config = BertConfig(
        vocab_size=num_tokens,
        hidden_size=16,
        num_hidden_layers=6,
        num_attention_heads=2,
        intermediate_size=1536,
        max_position_embeddings=64,
    )
    BertForSequenceClassification(config).save_pretrained(folder / "encoder")


def save_word_tokenizer(words: Sequence[str], folder: Path) -> int:
    """Save a tokenizer with one token for each word and BERT's special tokens; return the number of its tokens."""
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return len(vocabulary)
