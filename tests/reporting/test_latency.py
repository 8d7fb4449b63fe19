"""Latency on the evaluation texts themselves."""

import numpy as np
import pytest

from hf_distill.reporting.comparison.cost import describe_latency, draw_texts


def test_texts_are_drawn_without_repetition_and_words_are_joined():
    texts = [["a", "b"], "c d", ("e", "f")]
    assert sorted(map(str, draw_texts(texts, 10))) == sorted(map(str, ["a b", "c d", ("e", "f")]))
    many = [str(i) for i in range(1000)]
    drawn = draw_texts(many, 150)
    assert len(set(drawn)) == 150
    assert drawn == draw_texts(many, 150)
    assert np.mean(list(map(int, drawn))) == pytest.approx(499.5, abs=70)  # three standard errors


def test_percentiles_are_in_milliseconds_and_the_99th_needs_a_hundred_calls():
    seconds = [i / 1000 for i in range(101)]  # 0 to 100 ms
    assert describe_latency("cpu", None, seconds) == {
        "device": "cpu", "tokens": None, "batch_size": 1, "calls": 101, "p50_ms": 50.0,
        "p95_ms": pytest.approx(95.0), "p99_ms": pytest.approx(99.0),
    }  # fmt: skip
    assert describe_latency("cpu", 16, seconds[:99])["p99_ms"] is None
