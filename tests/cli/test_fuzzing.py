"""Try a few generated inputs of every kind, the same ones in each run; `benchmarks/fuzz.py` tries thousands."""

import pytest
import yaml
from fuzzing import STUDENT, Unclear, outcome, run_label_maps, run_recipes, targets
from hypothesis import HealthCheck, given, settings

NUM_INPUTS = {
    "label maps": 50, "argument combinations": 10, "data set shapes": 15, "recipes": 30, "cache files": 15,
    "soft labels": 40,
}  # fmt: skip


@pytest.fixture(scope="module")
def known():
    with targets() as known:
        yield known


def test_every_kind_of_input_is_tried(known):
    assert known.keys() == NUM_INPUTS.keys()


@pytest.mark.parametrize("name", NUM_INPUTS)
def test_an_input_gives_a_correct_result_or_a_clear_error(known, name):
    outcomes = set()

    @settings(
        max_examples=NUM_INPUTS[name], deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(known[name].inputs)
    def try_one(case):
        outcomes.add(outcome(known[name].run, case))

    try_one()
    assert outcomes == {"result", "refused"}  # both happen, so the inputs are not trivial


def test_a_recipe_can_have_every_type_of_value(tmp_path):
    recipe = {**STUDENT, "objectives": {"kl": {"temperature": 3.0}}, "label_names": ["a", "b"], "baseline": True}
    assert outcome(run_recipes, yaml.safe_dump(recipe)) == "result"


def test_an_unclear_error_is_told_from_a_clear_one():
    def deep(case, folder):
        case + 1

    with pytest.raises(Unclear, match="TypeError: can only concatenate str"):
        outcome(deep, "a")
    assert outcome(run_label_maps, ({0: "a", 1: "b"}, {0: "a", 1: "c"})) == "refused"
    assert outcome(run_label_maps, ({0: "a", 1: "b"}, {0: "B", 1: "a"})) == "result"
