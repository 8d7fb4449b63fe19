"""The order of length-grouped batches."""

import random

from hf_distill.training.sampling import LengthGroupedSampler

DRAW = random.Random(0)
LENGTHS = [DRAW.randint(3, 60) for _ in range(1003)]


def batches(order, size=16):
    return [order[start : start + size] for start in range(0, len(order), size)]


def test_every_row_comes_once_and_the_short_batch_last():
    order = list(LengthGroupedSampler(LENGTHS, 16, seed=1))
    assert sorted(order) == list(range(1003))
    assert len(order) == len(LengthGroupedSampler(LENGTHS, 16, seed=1))


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    sampler = LengthGroupedSampler(LENGTHS, 16, seed=1)
    first = list(sampler)
    random.random()
    assert list(sampler) == first == list(LengthGroupedSampler(LENGTHS, 16, seed=1))
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(LengthGroupedSampler(LENGTHS, 16, seed=2)) != first


def test_little_padding_is_left():
    def padded(rows):
        return sum(max(LENGTHS[i] for i in batch) * len(batch) for batch in rows)

    at_random = padded(batches(random.Random(1).sample(range(1003), 1003)))
    grouped = padded(batches(list(LengthGroupedSampler(LENGTHS, 16, seed=1))))
    assert grouped < 1.1 * sum(LENGTHS) < at_random / 1.5
