"""Trimmed vocabularies: the same pieces and exactly the same logits on the corpus, for every kind of tokenizer."""

import json
import random

import pytest
import torch
from tiny import TINY, tiny_model, tiny_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    BertTokenizerLegacy,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from hf_distill import trim_vocabulary
from hf_distill.students.pieces import needed_pieces

SYLLABLES = ["ka", "lo", "mi", "ner", "tas", "ü", "é", "shi", "wo", "ba", "qu", "zen", "ri", "den", "st"]


def sentences(number, seed, syllables=SYLLABLES):
    draw = random.Random(seed)
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(60)]
    return [" ".join(draw.choices(words, k=draw.randint(2, 9))) + "." for _ in range(number)]


TEXTS = sentences(400, seed=0)
# Sentences from few of the syllables, and two with a character and an emoji that the other texts do not have.
CORPUS = [*sentences(30, seed=1, syllables=SYLLABLES[:6]), "kalo ΩΩ lokami", "mi 🙂 kalo"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def trained(model, trainer, pre_tokenizer):
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizer
    backend.train_from_iterator(TEXTS, trainer)
    return json.loads(backend.to_str())["model"]


def wordpiece():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=250, special_tokens=special, show_progress=False)
    return BertTokenizer(vocab=trained(models.WordPiece(), trainer, pre_tokenizers.BertPreTokenizer())["vocab"])


def unigram():
    trainer = trainers.UnigramTrainer(
        vocab_size=250, special_tokens=SPECIAL[:4], unk_token="<unk>", show_progress=False
    )
    pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    vocab = trained(models.Unigram(), trainer, pre_tokenizer)["vocab"]
    return XLMRobertaTokenizer(vocab=[*map(tuple, vocab), ("<mask>", 0.0)])


def byte_level():
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model = trained(models.BPE(), trainer, pre_tokenizers.ByteLevel(add_prefix_space=False))
    return RobertaTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])


def bpe():
    """BPE of characters, with an unknown piece."""
    trainer = trainers.BpeTrainer(vocab_size=250, special_tokens=SPECIAL, show_progress=False)
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>")


TOKENIZERS = {"WordPiece": wordpiece, "Unigram": unigram, "byte-level BPE": byte_level, "BPE": bpe}


@pytest.fixture(scope="module", params=TOKENIZERS)
def original(request):
    return TOKENIZERS[request.param]()


def model_for(tokenizer):
    """A classifier that counts positions from the id of the padding token, as RoBERTa and XLM-R do."""
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    torch.manual_seed(0)
    return RobertaForSequenceClassification(
        RobertaConfig(**{**TINY, "vocab_size": len(tokenizer)}, num_hidden_layers=2, num_labels=3, **special)
    ).eval()


def logits(model, tokenizer, texts):
    with torch.no_grad():
        return model(**tokenizer(texts, padding=True, return_tensors="pt")).logits


def test_pieces_and_logits_on_the_corpus_equal_those_of_the_original_model(original):
    model = model_for(original)
    trimmed, tokenizer, report = trim_vocabulary(model, original, CORPUS)
    assert len(tokenizer) == trimmed.config.vocab_size < 0.9 * len(original)
    assert report["pieces"] == {"before": len(original), "after": len(tokenizer)}
    assert len(trimmed.get_input_embeddings().weight) == len(tokenizer)
    assert report["changed_texts"] == 0
    for text in CORPUS:
        assert tokenizer.tokenize(text) == original.tokenize(text)
    assert torch.equal(logits(trimmed, tokenizer, CORPUS), logits(model, original, CORPUS))


def test_model_and_tokenizer_are_the_same_when_saved_and_loaded(original, tmp_path):
    trimmed, tokenizer, _ = trim_vocabulary(model_for(original), original, CORPUS)
    trimmed.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "/tmp" not in (tmp_path / "tokenizer_config.json").read_text()
    loaded = type(trimmed).from_pretrained(tmp_path)
    texts = CORPUS + TEXTS[:20]
    assert torch.equal(
        logits(loaded, AutoTokenizer.from_pretrained(tmp_path), texts), logits(trimmed, tokenizer, texts)
    )


def test_special_tokens_keep_their_roles(original):
    model = model_for(original)
    trimmed, tokenizer, _ = trim_vocabulary(model, original, CORPUS)
    assert tokenizer.special_tokens_map == original.special_tokens_map
    for role, token in original.special_tokens_map.items():
        old, new = original.convert_tokens_to_ids(token), tokenizer.convert_tokens_to_ids(token)
        embeddings = trimmed.get_input_embeddings().weight[new], model.get_input_embeddings().weight[old]
        assert torch.equal(*embeddings), role
    assert trimmed.config.pad_token_id == tokenizer.pad_token_id
    pair = tokenizer("kalo", "mi")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(pair) == original.convert_ids_to_tokens(original("kalo", "mi")["input_ids"])


def test_the_report_counts_pieces_of_other_text_that_are_lost_or_unknown(original):
    _, tokenizer, report = trim_vocabulary(model_for(original), original, CORPUS, held_out_texts=TEXTS[:50])
    before = [piece for text in TEXTS[:50] for piece in original(text)["input_ids"]]
    known = set(tokenizer.get_vocab())
    lost = [piece for piece in original.convert_ids_to_tokens(before) if piece not in known]
    assert report["held_out"]["pieces"] == len(before)
    assert report["held_out"]["lost"] == pytest.approx(len(lost) / len(before))
    assert report["held_out"]["lost"] > 0
    after = [piece for text in TEXTS[:50] for piece in tokenizer(text)["input_ids"]]
    unknown = sum(piece == tokenizer.unk_token_id for piece in after)
    assert report["held_out"]["unknown"] == pytest.approx(unknown / len(after))
    assert (unknown > 0) == (not isinstance(original, RobertaTokenizer)), "bytes cover any text"


def test_no_piece_of_the_corpus_is_lost(original):
    _, _, report = trim_vocabulary(model_for(original), original, CORPUS, held_out_texts=CORPUS)
    assert (report["held_out"]["lost"], report["held_out"]["unknown"]) == (0, 0)


def test_rare_pieces_are_dropped_and_the_report_counts_the_texts_that_had_them():
    tokenizer = tiny_tokenizer()
    corpus = ["good film", "good film", "bad film"]
    _, trimmed, report = trim_vocabulary(tiny_model(), tokenizer, corpus, min_count=2)
    assert sorted(trimmed.get_vocab()) == sorted(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film"])
    assert report["changed_texts"] == 1
    assert report["pieces_not_in_corpus"] == 3, "[PAD], [UNK] and [MASK]"


def test_the_original_model_is_not_changed_and_shares_no_memory(tokenizer):
    # Compare only the part `model`: every call sets padding and truncation.
    model, before = tiny_model(), json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    trimmed, _, _ = trim_vocabulary(model, tokenizer, ["good film"])
    with torch.no_grad():
        for parameter in trimmed.parameters():
            parameter.add_(1)
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert json.loads(tokenizer.backend_tokenizer.to_str())["model"] == before


def test_a_tied_output_and_its_bias_are_trimmed_alike(tokenizer):
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(**TINY, num_hidden_layers=1)).eval()
    model.cls.predictions.bias.data.normal_()
    trimmed, new_tokenizer, _ = trim_vocabulary(model, tokenizer, ["a good film"])
    assert trimmed.get_output_embeddings().weight is trimmed.get_input_embeddings().weight
    old = logits(model, tokenizer, ["a good film"])
    kept = [
        tokenizer.get_vocab()[piece] for piece in sorted(new_tokenizer.get_vocab(), key=new_tokenizer.get_vocab().get)
    ]
    torch.testing.assert_close(logits(trimmed, new_tokenizer, ["a good film"]), old[..., kept])


def test_added_tokens_are_kept(tokenizer):
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<user>"])
    model = tiny_model()
    model.resize_token_embeddings(len(tokenizer))
    trimmed, new, _ = trim_vocabulary(model, tokenizer, ["good film"])
    assert new.tokenize("<user> good") == ["<user>", "good"]
    texts = ["good <user> film"]
    assert torch.equal(logits(trimmed, new, texts), logits(model, tokenizer, texts))


def test_the_pieces_at_the_start_of_an_unknown_word_are_kept():
    # "abX": the original tokenizer matches "ab" and fails at X. Without "ab" it would match "a", then "##bX".
    vocab = {piece: i for i, piece in enumerate(["[UNK]", "a", "ab", "##bX", "c"])}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.NFC(), pre_tokenizers.Whitespace()
    assert backend.encode("abX a").tokens == ["[UNK]", "a"]
    assert needed_pieces(backend, [0, 1], ["abX a"]) == {0, 1, 2}


def test_the_least_likely_piece_of_unigram_is_kept():
    vocab = [("<unk>", 0.0), ("a", -30.0), ("b", -1.0), ("ab", -29.5)]
    backend = Tokenizer(models.Unigram(vocab, unk_id=0))
    assert backend.encode("ab").tokens == ["ab"]
    # Without "a", the unknown character "a" scores the lowest score minus 10: -39.5 if "ab" (-29.5) is the lowest, but
    # only -11 if "b" (-1) is.
    assert needed_pieces(backend, [2, 3], []) == {0, 1, 2, 3}


def test_the_pieces_of_every_merge_step_are_kept():
    vocab = {piece: i for i, piece in enumerate(["a", "b", "c", "ab", "abc", "bc"])}
    backend = Tokenizer(models.BPE(vocab, [("a", "b"), ("ab", "c"), ("b", "c")]))
    assert backend.encode("abc").tokens == ["abc"]
    assert needed_pieces(backend, [4], []) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"texts": []}, ValueError, "at least one string"),
        ({"texts": [("a", "b")]}, ValueError, "at least one string"),
        ({"min_count": 0}, ValueError, "`min_count` must be at least 1"),
        ({"model": torch.nn.Linear(1, 1)}, TypeError, "must be a transformers PreTrainedModel"),
        ({"model": tiny_model(vocab_size=10)}, ValueError, "has 25 pieces, but the model has embeddings for 10"),
        ({"tokenizer": BertTokenizerLegacy}, ValueError, "slow tokenizer"),
    ],
)
def test_what_cannot_be_trimmed_is_refused(tokenizer, tmp_path, changes, error, message):
    if "tokenizer" in changes:
        (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]))
        changes = {"tokenizer": BertTokenizerLegacy(str(tmp_path / "vocab.txt"))}
    with pytest.raises(error, match=message):
        trim_vocabulary(**{"model": tiny_model(), "tokenizer": tokenizer, "texts": ["good"], **changes})


def test_another_kind_of_tokenizer_is_refused():
    backend = Tokenizer(models.BPE({"a": 0}, [], end_of_word_suffix="</w>"))
    with pytest.raises(ValueError, match="this BPE tokenizer cannot be trimmed"):
        needed_pieces(backend, [0], [])
