"""Layer maps: which pairs the names mean, and what is refused."""

import pytest

from hf_distill.objectives import build_objectives
from hf_distill.objectives.layer_maps import LAYER_MAPPINGS, layer_pairs, read_layer_mapping


@pytest.mark.parametrize(
    ("name", "depths", "expected"),
    [
        ("uniform", (6, 12), [(1, 2), (2, 4), (3, 6), (4, 8), (5, 10), (6, 12)]),
        ("uniform", (4, 6), [(1, 2), (2, 3), (3, 5), (4, 6)]),
        ("uniform", (3, 3), [(1, 1), (2, 2), (3, 3)]),
        ("uniform", (1, 6), [(1, 6)]),
        ("skip", (6, 12), [(1, 2), (2, 4), (3, 6), (4, 8), (5, 10)]),
        ("skip", (2, 6), [(1, 3)]),
        ("skip", (4, 6), [(1, 1), (2, 2), (3, 3)]),
        ("last", (6, 12), [(6, 12)]),
        ("last", (4, 2), [(4, 2)]),
    ],
)
def test_a_name_means_these_pairs(name, depths, expected):
    assert layer_pairs(name, *depths, "`pkd`") == expected


@pytest.mark.parametrize("name", LAYER_MAPPINGS)
@pytest.mark.parametrize("depths", [(2, 2), (2, 3), (3, 7), (5, 12), (6, 24)])
def test_pairs_rise_and_stay_within_both_models(name, depths):
    pairs = layer_pairs(name, *depths, "`pkd`", first=1)
    for (a, b), (c, d) in zip(pairs, pairs[1:], strict=False):
        assert a < c
        assert b < d
    assert all(1 <= ours <= depths[0] and 1 <= theirs <= depths[1] for ours, theirs in pairs)


def test_pairs_are_read_from_json_too_and_put_in_order():
    assert read_layer_mapping({"3": 6, "0": 0}, "`pkd`") == {0: 0, 3: 6}
    assert layer_pairs({0: 0, 3: 6}, 3, 6, "`pkd`") == [(0, 0), (3, 6)]


@pytest.mark.parametrize("value", ["even", {}, {"a": 1}, {1: 1.5}, {1: -1}, {-1: 1}, {1: True}, 3, [(1, 2)]], ids=repr)
def test_what_is_no_layer_mapping_is_refused_with_what_there_is(value):
    with pytest.raises(ValueError, match="`layer_mapping` of `hidden_mse` is .*uniform, last, skip, or pairs"):
        build_objectives({"hidden_mse": {"layer_mapping": value}})


def test_layers_that_do_not_exist_are_refused_with_both_depths():
    depths = "the student has 2 layers and the teacher 4"
    with pytest.raises(ValueError, match=f"layer 3 of the student, and {depths}. Name layers from 0"):
        layer_pairs({3: 4}, 2, 4, "`hidden_mse`")
    with pytest.raises(ValueError, match=f"layer 5 of the teacher, and {depths}"):
        layer_pairs({1: 5}, 2, 4, "`hidden_mse`")
    with pytest.raises(ValueError, match=f"layer 0 of the student, and {depths}. Name layers from 1"):
        layer_pairs({0: 0}, 2, 4, "`attention_mse`", first=1)


def test_a_name_that_has_no_meaning_for_the_depths_is_refused():
    for name in ("uniform", "skip"):
        with pytest.raises(ValueError, match="the student has 4 layers and the teacher 2. Use 'last', or name"):
            layer_pairs(name, 4, 2, "`hidden_mse`")
    with pytest.raises(ValueError, match="'skip' of `pkd` leaves the last layer out, and the student has 1 layers"):
        layer_pairs("skip", 1, 4, "`pkd`")
