"""`Predictor` takes texts as transformers' pipeline does, and names the text that it cannot take."""

import copy
import os
import pickle

import numpy as np
import pandas as pd
import pytest
from tiny import tiny_rows
from transformers import pipeline

from hf_distill import Predictor

TEXTS = [row["text"] for row in tiny_rows(6, seed=7)]
PAIRS = [(row["text"], row["text_pair"]) for row in tiny_rows(6, seed=8)]
ROWS = [{"text": text, "text_pair": pair} for text, pair in PAIRS]


@pytest.mark.parametrize("settings", [{}, {"top_k": None}, {"top_k": 1}])
@pytest.mark.parametrize("text", [ROWS[0], {"text": "a good film"}, "a good film", ["a good film"], ROWS[:1]])
def test_the_result_has_the_form_that_the_pipeline_gives(model, tokenizer, predictor, text, settings):
    def form(value):
        return [form(item) for item in value] if isinstance(value, list) else value["label"]

    pipe = pipeline("text-classification", model=model, tokenizer=tokenizer)
    assert form(predictor(text, **settings)) == form(pipe(text, **settings))


@pytest.mark.parametrize(
    "texts",
    [
        tuple(TEXTS[:1]) * 2,  # a tuple of two strings is one pair
        (text for text in TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        pd.Series(TEXTS),
        dict.fromkeys(TEXTS).keys(),
        map(str, TEXTS),
        [{"text": text} for text in TEXTS],
        [{"text": text, "text_pair": None} for text in TEXTS],
    ],
)
def test_any_iterable_of_texts_is_a_list_of_texts(predictor, texts):
    expected = [(TEXTS[0], TEXTS[0])] if isinstance(texts, tuple) else TEXTS
    assert predictor(texts) == predictor(expected)


def test_unusual_texts_are_texts(predictor, model, tokenizer):
    texts = ["", " ", "\n", "\0", "caf\u00e9", "\U0001f600", "\u202eabc", "e\u0301", "good " * 20_000]
    inputs = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
    np.testing.assert_allclose(predictor.logits(texts), model(**inputs).logits.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        (None, TypeError, "Got None. Pass a text or a list of texts"),
        (3, TypeError, "Got 3. Pass a text"),
        (float("nan"), TypeError, "Got nan"),
        (b"good", TypeError, "Got b'good'"),
        ({"good"}, TypeError, "Got {'good'}"),
        (np.array("good"), TypeError, r"Got array\('good'"),
        (["good", None], TypeError, "Text 1 is None. A text must be a string; a pair must be a tuple of two strings"),
        (["good", "", 3.5], TypeError, "Text 2 is 3.5"),
        (pd.Series(["good", np.nan]), TypeError, "Text 1 is nan"),
        (["good", b"bad"], TypeError, "Text 1 is b'bad'"),
        ([["good", "film"]], TypeError, r"Text 0 is \['good', 'film'\]"),
        (np.array([["good", "film"]]), TypeError, "Text 0 is array"),
        ([("good",)], TypeError, r"Text 0 is \('good',\)"),
        (["good", ("a", "b", "c")], TypeError, "Text 1 is"),
        (["good", ("a", None)], TypeError, "Text 1 is"),
        ({"sentence": "good"}, TypeError, "a dict with `text` and `text_pair`"),
        ({"text_pair": "good"}, TypeError, "Text 0 is"),
        ({"text": None, "text_pair": "good"}, TypeError, "Text 0 is"),
        ({"text": ["good", "bad"]}, TypeError, "Text 0 is"),
        ([{"text": "good"}, {"text": "good", "text_pair": 3}], TypeError, "Text 1 is"),
        ([{"text": "good", "label": 1}], TypeError, "Text 0 is"),
        (["good", "\ud800"], ValueError, "Text 1 is not valid Unicode"),
        ([("good", "\udfff")], ValueError, "Text 0 is not valid Unicode"),
        (["x" * 10_000, 1, ["y" * 10_000]], TypeError, "Text 1 is 1"),
        (pd.DataFrame({"text": TEXTS}), TypeError, r"Got a DataFrame. Pass its column of texts as a list"),
    ],
)
def test_what_is_not_a_text_is_refused_with_its_index(predictor, texts, error, message):
    for call in (predictor, predictor.logits):
        with pytest.raises(error, match=message) as raised:
            call(texts)
        assert len(str(raised.value)) < 500


def test_a_token_classifier_takes_a_dict_and_no_pairs(tagger):
    _, predictor = tagger
    expected = predictor("a good film")
    assert expected, "or the test would be vacuous"
    assert predictor({"text": "a good film"}) == expected
    assert predictor([{"text": "a good film"}]) == predictor([["a", "good", "film"]]) == [expected]
    assert predictor(["", []]) == [[], []]
    for pair in ({"text": "good", "text_pair": "film"}, [["good", None]], [["good", ["film"]]]):
        with pytest.raises(TypeError, match="Text 0 is .* takes no pairs"):
            predictor(pair)


@pytest.mark.parametrize("copy_of", [lambda p: pickle.loads(pickle.dumps(p)), copy.deepcopy])
def test_a_predictor_can_be_pickled_and_copied(folder, copy_of, monkeypatch, tmp_path):
    monkeypatch.chdir(folder.parent)
    predictor = Predictor(folder.name, num_threads=1, max_length=8)
    monkeypatch.chdir(tmp_path)  # as in another process
    restored = copy_of(predictor)
    assert (restored.num_threads, restored.max_length) == (1, 8)
    np.testing.assert_array_equal(restored.logits(TEXTS), predictor.logits(TEXTS))


def test_max_length_cuts_texts_like_the_tokenizer(folder, model, tokenizer):
    inputs = tokenizer("good bad film", truncation=True, max_length=4, return_tensors="pt")
    expected = model(**inputs).logits.detach().numpy()
    np.testing.assert_allclose(Predictor(folder, max_length=4).logits("good bad film"), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: p.logits(["good"], batch_size=0), ValueError, "`batch_size` must be at least 1"),
        (lambda p: p.word_logits(["good"]), TypeError, "has no logits for words"),
        (lambda p: p("good", top_k=0), ValueError, "`top_k` must be a number of classes from 1"),
        (lambda p: p("good", top_k="all"), ValueError, "`top_k` must be a number of classes from 1"),
        (lambda p: Predictor(p.folder, num_threads=0), ValueError, "`num_threads` must be at least 1"),
        (lambda p: Predictor(p.folder, max_length=65), ValueError, "`max_length` must be from 3 to 64"),
        (
            lambda p: Predictor(os.devnull),
            FileNotFoundError,
            "is not an export: it has no export.json, tokenizer.json",
        ),
    ],
)
def test_invalid_settings_of_a_predictor_are_rejected(predictor, call, error, message):
    with pytest.raises(error, match=message):
        call(predictor)
