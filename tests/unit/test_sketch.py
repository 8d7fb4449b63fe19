"""A sketch of rows fits every part of the rows, and does not fit other rows."""

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value, concatenate_datasets

from hf_distill.classifiers.sketch import Sketch, hash_numbers


def hashes(rows, feature=None):
    features = None if feature is None else Features({"x": feature})
    return hash_numbers(Dataset.from_dict({"x": rows}, features=features), "x")


def draw(num_rows, seed):
    return np.random.default_rng(seed).normal(size=(num_rows, 3)).astype(np.float32).tolist()


@pytest.mark.parametrize("num_rows", [1, 40, 3000])
def test_a_part_of_the_rows_fits_in_any_order_and_after_writing(num_rows):
    all_hashes = hashes(draw(num_rows, 0))
    sketch = Sketch.parse(str(Sketch.of(all_hashes)))
    assert len(sketch.hashes) == min(num_rows, 1024)
    assert sketch.fits(all_hashes).all()
    assert sketch.fits(np.random.default_rng(1).permutation(all_hashes)[: num_rows // 2 + 1]).all()


@pytest.mark.parametrize("num_rows", [1, 40, 3000])
def test_other_rows_do_not_fit(num_rows):
    rows = draw(num_rows, 0)
    sketch = Sketch.of(hashes(rows))
    for other in (draw(num_rows, 1), [row[::-1] for row in rows], [[2 * x for x in row] for row in rows]):
        # Of 3,000 rows a third has hashes among the 1,024 smallest.
        assert (~sketch.fits(hashes(other))).mean() > (0.25 if num_rows == 3000 else 0.99)


def test_rows_differ_by_value_place_and_length():
    rows = [[1.0, 2.0], [2.0, 1.0], [1.0, 2.0, 0.0], [1.0], [], [0.0], [0.0, 0.0], [-1.0, 2.0]]
    assert len(set(hashes(rows).tolist())) == len(rows)
    assert hashes([[0.0, 1.0]]) == hashes([[-0.0, 1.0]])


def test_the_type_of_the_column_does_not_matter():
    rows = [[0.5, -2.0], [3.0, 4.25]]
    expected = hashes(rows, List(Value("float32"))).tolist()
    for feature in (List(Value("float64")), List(Value("float32"), length=2), List(Value("float16"))):
        assert hashes(rows, feature).tolist() == expected
    assert hashes([[1, 2]]).tolist() == hashes([[1.0, 2.0]]).tolist()


def test_rows_of_tokens_are_hashed_with_all_their_numbers():
    rows = [[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0]], [[1.0, 2.0], [3.0, 4.5]]]
    assert len(set(hashes(rows).tolist())) == 3
    whole = Dataset.from_dict({"x": rows})
    parts = concatenate_datasets([whole.select([2]), whole.select([0, 1])])
    assert hash_numbers(parts, "x").tolist() == hashes(rows)[[2, 0, 1]].tolist()
