"""The space of a search: what its file can say, and the errors for everything else."""

import pytest

from hf_distill.search.architectures import list_architectures
from hf_distill.search.space import Dimension, default_dimensions, make_space, read_space


def read(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return read_space(path)


def test_a_file_has_choices_and_ranges(tmp_path):
    dimensions = read(
        tmp_path,
        "depth: [2, 3]\nwidth: [all, 512]\nlearning_rate: {low: 1e-5, high: 1.0e-3, log: true}\nvariant: int8\n",
    )
    assert dimensions == {
        "depth": Dimension((2, 3)),
        "width": Dimension(("all", 512)),
        "learning_rate": Dimension(low=1e-5, high=1e-3, log=True),
        "variant": Dimension(("int8",)),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth: [2]\ndept: 3\n", r"space.yaml, line 2: there is no key 'dept'"),
        ("depth:\n  - 2\n  - many\n", r"space.yaml, line 3: `depth` takes numbers .* got 'many'"),
        ("depth: [0]\n", r"line 1: `depth` takes numbers of the teacher's layers to copy, from 1; got '0'"),
        ("depth: [2.5]\n", r"got '2.5'"),
        ("depth: {low: 1, high: 3}\n", r"`depth` takes a list of choices, not a range"),
        ("depth: [[2]]\n", r"got a list or a mapping"),
        ("depth: [2, 2]\n", r"`depth` has a value twice: 2, 2"),
        ("depth: [2]\ndepth: [3]\n", r"line 2: `depth` is there for the second time"),
        ("layers: [middle]\n", r"`layers` takes names of layers to copy: uniform, first, last; got 'middle'"),
        ("variant: [int4]\n", r"`variant` takes variants of the export: float32, int8; got 'int4'"),
        ("temperature: [-1]\n", r"`temperature` takes temperatures >= 0.001; got '-1'"),
        ("temperature: [.inf]\n", r"got '.inf'"),
        ("temperature: []\n", r"`temperature` needs at least one value"),
        ("temperature: {low: 1}\n", r"the range of `temperature` needs low and high"),
        ("temperature: {low: 1, high: 4, step: 1}\n", r"needs low and high, and can have log; got"),
        ("temperature: {low: 4, high: 1}\n", r"`low` of `temperature` must be below `high`, got 4 and 1"),
        ("hard_label_weight: {low: 0, high: 1, log: true}\n", r"a logarithmic range of `hard_label_weight`"),
        ("temperature: {low: 1, high: 4, log: maybe}\n", r"`log` of `temperature` is true or false, got 'maybe'"),
        ("- depth\n", r"the space maps keys to values"),
        ("", r"the space maps keys to values"),
        ("depth: [2\n", r"line \d: the file is not YAML"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_with_key_value_and_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_the_default_depths_of_a_teacher_with_12_layers():
    assert default_dimensions(12, 3072, True)["depth"].choices == (2, 3, 4, 6)
    assert default_dimensions(1, 64, True)["depth"].choices == (1,)


def test_a_file_that_names_one_kind_of_student_leaves_the_others_out(tmp_path):
    space = make_space(default_dimensions(4, 32, True), read(tmp_path, "static_dim: 8\n"), {})
    assert [architecture.name for architecture in list_architectures(space)] == ["static 8, float32", "static 8, int8"]
    assert "layers" not in space.dimensions
    assert "learning_rate" not in space.dimensions


def test_the_architectures_are_all_combinations():
    space = make_space(default_dimensions(4, 32, False), {"variant": Dimension(("float32",))}, {})
    names = [architecture.name for architecture in list_architectures(space)]
    assert names == [
        "1 layer, float32", "1 layer, 16 wide, float32", "2 layers, float32", "2 layers, 16 wide, float32",
    ]  # fmt: skip


def test_a_key_that_a_flag_fixes_is_refused_and_otherwise_left_out(tmp_path):
    fixed = {"temperature": "--temperature sets it"}
    defaults = default_dimensions(4, 32, True)
    assert "temperature" not in make_space(defaults, {}, fixed).dimensions
    with pytest.raises(ValueError, match="The space has `temperature`, but --temperature sets it"):
        make_space(defaults, read(tmp_path, "temperature: [2]\n"), fixed)


def test_a_key_that_no_student_uses_is_refused(tmp_path):
    chosen = read(tmp_path, "static_dim: 8\nlayers: first\n")
    with pytest.raises(ValueError, match="`layers`, which none of its students uses"):
        make_space(default_dimensions(4, 32, True), chosen, {})


def test_a_trimmed_vocabulary_doubles_the_students_from_the_teacher_only(tmp_path):
    chosen = read(tmp_path, "depth: 1\nwidth: all\nstudents: [a]\nvariant: int8\nvocabulary: [all, trimmed]\n")
    architectures = list_architectures(make_space(default_dimensions(4, 32, True), chosen, {}))
    assert {architecture.name: architecture.flags for architecture in architectures} == {
        "1 layer, int8": {"student_num_hidden_layers": 1},
        "1 layer, trimmed vocabulary, int8": {"student_num_hidden_layers": 1, "student_trim_vocabulary": True},
        "a, int8": {"student_model_name_or_path": "a"},
    }


@pytest.mark.parametrize("text", ["students: []\n", "depth: []\nstatic_dim: []\n"])
def test_a_space_without_a_student_is_refused(tmp_path, text):
    with pytest.raises(
        ValueError, match="The space has no student: `depth`, `static_dim` and `students` are all empty"
    ):
        make_space(default_dimensions(4, 32, True), read(tmp_path, text), {})


def test_a_trimmed_vocabulary_of_pretrained_students_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`vocabulary`, which none of its students uses"):
        make_space(default_dimensions(4, 32, True), read(tmp_path, "students: [a]\nvocabulary: trimmed\n"), {})
