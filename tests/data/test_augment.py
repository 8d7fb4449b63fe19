import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny import TINY, WORDS, tiny_tokenizer
from tokenizers import Tokenizer, models
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from hf_distill.data import augment_texts
from hf_distill.data.neighbors import WordNeighbors, draw_word, whole_words
from hf_distill.data.word_proposals import WordProposals

TEXTS = ["The film is very good.", "a boring plot", "the actor was great fun", "a slow scene"]


@pytest.fixture(scope="module")
def embeddings():
    return torch.randn(TINY["vocab_size"], 8, generator=torch.Generator().manual_seed(0)).numpy()


def augment(embeddings, dataset=None, **settings):
    dataset = Dataset.from_dict({"text": TEXTS}) if dataset is None else dataset
    settings = {"text_columns": ["text"], "tokenizer": tiny_tokenizer(), "embeddings": embeddings, **settings}
    return augment_texts(dataset, **settings)


def word_level(*pieces):
    backend = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")


def test_a_neighbor_is_the_nearest_word_of_like_frequency():
    names = ["the", "of", "good", "fine", "nice", "great"] + [f"rare{chr(97 + i)}" for i in range(20)]
    tokenizer = word_level("[UNK]", *names)
    vectors = np.zeros((27, 3), np.float32)
    vectors[:, 2] = 1.0
    # good (id 3): fine (id 4) is nearer than great (id 6); rarea (id 7) is equal, and rarez further down is too rare.
    vectors[3], vectors[4], vectors[6], vectors[26] = [1, 0, 0], [0.9, 0.1, 0], [0.5, 0.5, 0], [1, 0, 0]
    nearest = WordNeighbors(tokenizer, vectors).nearest("good")
    assert nearest[:2] == ["fine", "great"]
    assert "good" not in nearest
    assert names[-1] not in nearest  # rank 27 against rank 4 is more than four times as rare
    assert WordNeighbors(tokenizer, vectors).nearest("unknown") == []


def test_a_letter_that_is_also_a_mark_hides_no_words():
    pieces = [
        "[UNK]",
        "\u0120",
        "\u0120gantija",
        "film",
        "plot",
        *(f"##{letter}" for letter in "abcdefghijklmnopqrst"),
    ]
    assert list(whole_words(word_level(*pieces), 100)) == ["\u0120gantija", "film", "plot"]


def test_a_mark_at_the_end_of_words_tells_words_from_pieces():
    pieces = ["[UNK]", "film</w>", "plot</w>", "fil", "plo", "a", "b", "m</w>"]
    assert list(whole_words(word_level(*pieces), 100)) == ["film", "plot"]


def test_vowel_signs_belong_to_words(embeddings):
    pieces = ["[UNK]", "\u0939\u0948", "\u0905\u091a\u094d\u091b\u0940", "film", "\u0e17\u0e35\u0e48"]
    assert list(whole_words(word_level(*pieces), 100)) == pieces[1:]
    dataset = Dataset.from_dict({"text": ["\u0905\u091a\u094d\u091b\u0940 \u0939\u0948! film"]})
    masked = augment(embeddings, dataset, methods={"mask": 1.0}, copies=8)["text"]
    assert set(masked) <= {
        f"{a} {b}! {c}" for a in ("[MASK]", pieces[2]) for b in ("[MASK]", pieces[1]) for c in ("[MASK]", "film")
    }


def test_a_text_of_one_word_is_not_masked(embeddings):
    dataset = Dataset.from_dict({"text": ["great", "a boring plot"]})
    assert set(augment(embeddings, dataset, methods={"mask": 1.0}, copies=8)["source_row"]) == {1}
    with pytest.raises(ValueError, match="None of the 2 texts could be varied"):
        augment(embeddings, Dataset.from_dict({"text": ["\u597d\u770b\u3002", "\u65e0\u804a"]}))


@pytest.mark.parametrize("columns", [1, 2])
def test_variants_of_long_texts_differ_where_the_model_reads(embeddings, columns):
    tokenizer, draw = tiny_tokenizer(), np.random.default_rng(0)
    rows = {f"text{i}": [" ".join(draw.choice(WORDS, 30)) for _ in range(12)] for i in range(columns)}
    variants = augment(
        embeddings, Dataset.from_dict(rows), text_columns=list(rows), copies=6, max_length=16, tokenizer=tokenizer
    )

    def read(dataset):
        encoded = tokenizer(*(dataset[name][:] for name in rows), truncation=True, max_length=16)
        return [tuple(ids) for ids in encoded["input_ids"]]

    assert len(variants) > 40
    assert not set(read(variants)) & set(read(rows))


def test_a_word_with_a_capital_becomes_one_with_a_capital_that_keeps_its_others():
    draw = np.random.default_rng(0)
    words = [draw_word(draw, word, ["mcDonald"]) for word in ("Burger", "burger", "BURGER", "I")]
    assert words == ["McDonald", "mcDonald", "MCDONALD", "McDonald"]
    assert draw_word(draw, "Burger", []) is None


def assert_words_are_replaced(variants):
    """Other words of the vocabulary, with the punctuation and the capitals of the words in their places."""
    for variant, source in zip(variants["text"], variants["source_row"], strict=True):
        words, original = variant.split(), TEXTS[source].split()
        assert len(words) == len(original)
        changed = [(new, old) for new, old in zip(words, original, strict=True) if new != old]
        assert changed
        assert all(new.strip(".").lower() in WORDS for new, _ in changed)
        assert all(
            new[0].isupper() == old[0].isupper() and new.endswith(".") == old.endswith(".") for new, old in changed
        )


def test_neighbors_replace_words_and_keep_punctuation_and_capitals(embeddings):
    assert_words_are_replaced(augment(embeddings, methods={"neighbors": 1.0}, copies=5))


def test_masks_replace_at_least_one_word(embeddings):
    variants = augment(embeddings, methods={"mask": 1.0}, copies=3)["text"]
    assert all("[MASK]" in variant for variant in variants)


def test_ngrams_are_successive_words(embeddings):
    variants = augment(embeddings, methods={"ngram": 1.0}, copies=5)
    assert all(text in TEXTS[source] for text, source in zip(variants["text"], variants["source_row"], strict=True))
    assert max(len(text.split()) for text in variants["text"]) <= 5


def test_two_halves_are_joined(embeddings):
    starts = ["The film is", "a boring", "the actor was", "a slow"]
    ends = ["very good.", "plot", "great fun", "scene"]
    variants = augment(embeddings, methods={"join": 1.0}, copies=5)
    for text, source in zip(variants["text"], variants["source_row"], strict=True):
        assert text.startswith(starts[source])
        assert text.removeprefix(starts[source]).strip() in ends


def test_a_larger_draw_and_more_rows_contain_the_smaller_one(embeddings):
    methods = {"neighbors": 1.0, "mask": 1.0, "ngram": 1.0}
    few = set(augment(embeddings, methods=methods, copies=2)["text"])
    assert few < set(augment(embeddings, methods=methods, copies=6)["text"])
    more_rows = Dataset.from_dict({"text": ["a new cold film", *TEXTS]})
    assert few <= set(augment(embeddings, more_rows, methods=methods, copies=2)["text"])


def test_another_seed_gives_other_variants(embeddings):
    assert augment(embeddings, seed=1)["text"][:] != augment(embeddings, seed=2)["text"][:]
    assert augment(embeddings, seed=1)["text"][:] == augment(embeddings, seed=1)["text"][:]


def test_no_variant_equals_an_original_or_another_variant(embeddings):
    texts = [text.casefold() for text in augment(embeddings, copies=50)["text"]]
    assert len(set(texts)) == len(texts)
    assert set(texts).isdisjoint(text.casefold() for text in TEXTS)


def test_one_side_of_a_pair_varies_and_pairs_are_recombined(embeddings):
    pairs = Dataset.from_dict({"a": TEXTS, "b": TEXTS[::-1]})
    variants = augment(embeddings, pairs, text_columns=["a", "b"], methods={"neighbors": 1.0}, copies=4)
    for a, b, source in zip(variants["a"], variants["b"], variants["source_row"], strict=True):
        assert (a == TEXTS[source]) != (b == TEXTS[::-1][source])
    joined = augment(embeddings, pairs, text_columns=["a", "b"], methods={"join": 1.0}, copies=4)
    assert all(a == TEXTS[source] for a, source in zip(joined["a"], joined["source_row"], strict=True))
    assert set(joined["b"]) <= set(TEXTS)


def test_texts_stay_texts_if_the_first_one_is_missing(embeddings):
    pairs = Dataset.from_dict({"a": [None, "a boring plot"], "b": ["the film", "a slow scene"]})
    variants = augment(embeddings, pairs, text_columns=["a", "b"], methods={"neighbors": 1.0})
    assert all(isinstance(text, str) for text in [*variants["a"], *variants["b"]])


def test_lists_of_words_stay_lists_of_words(embeddings):
    words = Dataset.from_dict({"words": [text.split() for text in TEXTS]})
    variants = augment(embeddings, words, text_columns=["words"])
    assert all(isinstance(row, list) for row in variants["words"])
    assert set(augment(embeddings)["text"]) == {" ".join(row) for row in variants["words"]}


@pytest.fixture(scope="module")
def proposals():
    torch.manual_seed(0)
    return WordProposals(BertForMaskedLM(BertConfig(**TINY, num_hidden_layers=1)), tiny_tokenizer())


def test_a_masked_language_model_replaces_words_and_keeps_punctuation_and_capitals(embeddings, proposals):
    assert_words_are_replaced(augment(embeddings, methods={"masked_lm": 1.0}, proposals=proposals, copies=5))


def test_a_masked_language_model_leaves_words_that_it_does_not_know(embeddings, proposals):
    settings = {"methods": {"masked_lm": 1.0}, "proposals": proposals, "copies": 20}
    mixed = Dataset.from_dict({"text": ["great 1,200 unknown 12:30 https://a.b/c"]})
    variants = augment(embeddings, mixed, **settings)["text"]
    assert {variant.split(maxsplit=1)[1] for variant in variants} == {"1,200 unknown 12:30 https://a.b/c"}
    with pytest.raises(ValueError, match="None of the 1 texts could be varied"):
        augment(embeddings, Dataset.from_dict({"text": ["\u6620\u753b"]}), **settings)


def test_a_larger_draw_with_a_masked_language_model_contains_the_smaller_one(embeddings, proposals):
    settings = {"methods": {"masked_lm": 1.0, "ngram": 1.0}, "proposals": proposals}
    assert set(augment(embeddings, copies=2, **settings)["text"]) < set(
        augment(embeddings, copies=6, **settings)["text"]
    )


def test_a_masked_language_model_varies_one_side_of_a_pair_and_lists_of_words(embeddings, proposals):
    settings = {"methods": {"masked_lm": 1.0}, "proposals": proposals}
    pairs = Dataset.from_dict({"a": TEXTS, "b": TEXTS[::-1]})
    variants = augment(embeddings, pairs, text_columns=["a", "b"], **settings)
    for a, b, source in zip(variants["a"], variants["b"], variants["source_row"], strict=True):
        assert (a == TEXTS[source]) != (b == TEXTS[::-1][source])
    words = Dataset.from_dict({"words": [text.split() for text in TEXTS]})
    rows = augment(embeddings, words, text_columns=["words"], **settings)["words"]
    assert {" ".join(row) for row in rows} == set(augment(embeddings, **settings)["text"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": {"masked_lm": 1.0}}, "Pass `proposals=WordProposals"),
        ({"copies": 0}, "at least 1, got 0"),
        (
            {"methods": {"synonyms": 1.0}},
            "no method 'synonyms'; the methods are neighbors, mask, ngram, join, masked_lm",
        ),
        ({"methods": {"mask": 0.0}}, "shares > 0"),
        ({"methods": {}}, "shares > 0"),
    ],
)
def test_bad_settings_are_refused(embeddings, settings, message):
    with pytest.raises(ValueError, match=message):
        augment(embeddings, **settings)


def test_proposals_that_no_method_uses_are_refused(embeddings, proposals):
    with pytest.raises(ValueError, match="Only the method `masked_lm` uses `proposals`"):
        augment(embeddings, proposals=proposals)


def test_a_tokenizer_without_a_mask_token_cannot_mask(embeddings):
    tokenizer = tiny_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(ValueError, match="has no mask token. Leave the method `mask` out"):
        augment(embeddings, tokenizer=tokenizer)


def test_texts_that_cannot_be_varied_are_refused(embeddings):
    dataset = Dataset.from_dict({"text": ["\u6620\u753b", None, "", "..."]})
    with pytest.raises(ValueError, match="None of the 4 texts could be varied"):
        augment(embeddings, dataset, methods={"neighbors": 1.0, "ngram": 1.0})
