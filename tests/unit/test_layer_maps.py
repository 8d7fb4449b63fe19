"""Layer mappings: the pairs that each name defines, and errors."""

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
def test_a_name_defines_these_pairs(name, depths, expected):
    assert layer_pairs(name, *depths, "pkd") == expected


@pytest.mark.parametrize("name", LAYER_MAPPINGS)
@pytest.mark.parametrize("depths", [(2, 2), (2, 3), (3, 7), (5, 12), (6, 24)])
def test_pairs_increase_and_stay_within_both_models(name, depths):
    pairs = layer_pairs(name, *depths, "pkd", first=1)
    for (a, b), (c, d) in zip(pairs, pairs[1:], strict=False):
        assert a < c
        assert b < d
    assert all(1 <= student <= depths[0] and 1 <= teacher <= depths[1] for student, teacher in pairs)


def test_pairs_from_json_are_read_and_sorted():
    assert read_layer_mapping({"3": 6, "0": 0}, "pkd") == {0: 0, 3: 6}
    assert layer_pairs({0: 0, 3: 6}, 3, 6, "pkd") == [(0, 0), (3, 6)]


@pytest.mark.parametrize("value", ["even", {}, {"a": 1}, {1: 1.5}, {1: -1}, {-1: 1}, {1: True}, 3, [(1, 2)]], ids=repr)
def test_an_invalid_layer_mapping_is_rejected_and_the_valid_names_are_listed(value):
    with pytest.raises(ValueError, match="`layer_mapping` of `hidden_mse` is .*uniform, last, skip, or pairs"):
        build_objectives({"hidden_mse": {"layer_mapping": value}})


def test_layers_that_do_not_exist_are_rejected_with_the_range_of_layers():
    with pytest.raises(ValueError, match="`hidden_mse` names layer 3 of the student, but only layers 0 to 2 of"):
        layer_pairs({3: 4}, 2, 4, "hidden_mse")
    with pytest.raises(ValueError, match="layer 5 of the teacher, but only layers 0 to 4 of"):
        layer_pairs({1: 5}, 2, 4, "hidden_mse")
    with pytest.raises(ValueError, match="layer 0 of the student, but only layers 1 to 2 of"):
        layer_pairs({0: 0}, 2, 4, "attention_mse", first=1)


def test_a_name_that_does_not_fit_the_depths_is_rejected():
    for name in ("uniform", "skip"):
        with pytest.raises(ValueError, match="the student has 4 layers and the teacher has 2. Use 'last', or pairs"):
            layer_pairs(name, 4, 2, "hidden_mse")
    with pytest.raises(ValueError, match="'skip' of `pkd` leaves out the last layer, and the student has only one"):
        layer_pairs("skip", 1, 4, "pkd")
