"""The first trials of a search."""

from hf_distill.search.architectures import Architecture
from hf_distill.search.space import Dimension, Space
from hf_distill.search.starts import list_starts

WIDE, NARROW = Architecture("int8", 2), Architecture("int8", 2, width=16)
STATIC = Architecture("float32", static_dim=8)
OTHER = Architecture("int8", student="another/model")


def test_each_kind_of_student_starts_in_its_cheapest_architecture_with_all_neurons():
    ranked = [STATIC, NARROW, WIDE, Architecture("float32", 2), OTHER, Architecture("int8", 3)]
    space = Space(
        {"learning_rate": Dimension(low=2e-5, high=5e-4, log=True), "num_train_epochs": Dimension((2.0, 3.0))}
    )
    settings = {"learning_rate": 1e-4, "num_train_epochs": 3.0}
    assert list_starts(ranked, space) == [{"architecture": index, **settings} for index in (0, 2, 4, 5)]


def test_a_space_of_narrow_students_only_starts_with_the_cheapest_of_them():
    ranked = [NARROW, Architecture("int8", 2, width=24)]
    assert list_starts(ranked, Space({})) == [{"architecture": 0}]


def test_a_setting_that_the_space_lacks_becomes_the_nearest_one():
    space = Space(
        {
            "layers": Dimension(("first", "last")),
            "temperature": Dimension(low=4.0, high=8.0, log=True),
            "hard_label_weight": Dimension((0.5, 1.0)),
            "augment": Dimension((2, 4)),
            "num_train_epochs": Dimension(low=1.0, high=2.0),
        }
    )
    (start,) = list_starts([WIDE], space)
    assert start == {
        "architecture": 0,
        "layers": "first",
        "temperature": 4.0,
        "hard_label_weight": 0.5,
        "augment": 2,
        "num_train_epochs": 2.0,
    }
