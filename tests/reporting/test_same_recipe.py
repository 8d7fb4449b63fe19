"""Runs that are averaged are runs of one recipe."""

import json

import pytest
from records import RECORD
from tiny import tiny_model

from hf_distill.reporting.comparison.same_recipe import check_runs

TRAINING = {**RECORD["training"], "seed": 1}


def run_in(folder, seed, **changes):
    """Write a student and its record; return its folder."""
    tiny_model(1, seed=seed).save_pretrained(folder)
    record = {**RECORD, "training": {**TRAINING, "seed": seed}, **changes}
    (folder / "distillation.json").write_text(json.dumps(record))
    return str(folder)


def test_seeds_of_one_recipe_are_averaged(tmp_path, caplog):
    check_runs("student", [run_in(tmp_path / str(seed), seed) for seed in range(3)])
    assert not caplog.records


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": {"dkd": {"weight": 1.0}}}, "objectives"),
        ({"training": {**TRAINING, "learning_rate": 0.5}}, "training.learning_rate is .* and 0.5 in the other"),
        ({"teacher": {**RECORD["teacher"], "num_hidden_layers": 99}}, "teacher.num_hidden_layers"),
        ({"student": {**RECORD["student"], "num_hidden_layers": 99}}, "student.num_hidden_layers"),
        ({"dataset": {"splits": {"train": {"sha256": "ab"}}}}, "hash of the train rows"),
        ({"dataset": {"splits": {"transfer": {"sha256": "ab"}}}}, "hash of the transfer rows"),
    ],
)
def test_runs_of_two_recipes_are_refused_with_the_difference(tmp_path, changes, message):
    runs = [run_in(tmp_path / "a", 1), run_in(tmp_path / "b", 2), run_in(tmp_path / "c", 3, **changes)]
    with pytest.raises(ValueError, match=f"a and .*c are runs of different recipes.*{message}"):
        check_runs("student", runs)


def with_teacher(name, initial=None, **changes):
    """Changes of a record: a teacher with this name, of which the student has layers."""
    return {
        "teacher": {**RECORD["teacher"], "name_or_path": name, **changes},
        "student": {**RECORD["student"], "origin": name, "initial_fingerprint": initial},
    }


def test_a_teacher_that_the_first_run_fine_tuned_and_the_second_loads_is_one_teacher(tmp_path):
    fine_tuned = with_teacher("encoder", "cd", fingerprint="ab", license="mit", is_local=True)
    loaded = with_teacher("a/teacher", "cd", fingerprint="ab")
    check_runs("student", [run_in(tmp_path / "a", 1, **fine_tuned), run_in(tmp_path / "b", 2, **loaded)])


def test_baselines_that_start_from_the_same_weights_are_runs_of_one_recipe(tmp_path):
    first, second = ({**with_teacher(name, "cd"), "teacher": None} for name in ("encoder", "a/teacher"))
    check_runs("baseline", [run_in(tmp_path / "a", 1, **first), run_in(tmp_path / "b", 2, **second)])
    other = run_in(tmp_path / "c", 2, **{**with_teacher("x", "ef"), "teacher": None})
    with pytest.raises(ValueError, match="student.origin is 'encoder' in one and 'x' in the other"):
        check_runs("baseline", [tmp_path / "a", other])


def test_heads_that_each_seed_draws_anew_are_compared_by_the_name_of_the_origin(tmp_path):
    drawn = [with_teacher("teacher", initial, fingerprint="ab") for initial in ("1", "2")]
    check_runs("student", [run_in(tmp_path / str(i), i, **changes) for i, changes in enumerate(drawn)])


def test_another_teacher_of_the_same_name_is_another_recipe(tmp_path):
    runs = [run_in(tmp_path / x, i, **with_teacher("teacher", fingerprint=x)) for i, x in enumerate("ab")]
    with pytest.raises(ValueError, match="teacher.fingerprint is 'a' in one and 'b' in the other"):
        check_runs("student", runs)


def test_teachers_are_compared_by_name_where_a_record_of_an_earlier_version_has_no_fingerprint(tmp_path):
    new, old = with_teacher("teacher", fingerprint="ab"), with_teacher("teacher")
    check_runs("student", [run_in(tmp_path / "a", 1, **new), run_in(tmp_path / "b", 2, **old)])
    with pytest.raises(ValueError, match="teacher.name_or_path is 'teacher' in one and 'other' in the other"):
        check_runs("student", [tmp_path / "a", run_in(tmp_path / "c", 3, **with_teacher("other"))])


@pytest.mark.parametrize("is_same", [True, False])
def test_each_teacher_of_an_ensemble_is_compared(tmp_path, is_same):
    def ensemble(*fingerprints):
        return {"teacher": {"teachers": [{"name_or_path": x + "!", "fingerprint": x} for x in fingerprints]}}

    renamed = ensemble("a", "b" if is_same else "c")
    renamed["teacher"]["teachers"][0]["name_or_path"] = "renamed"
    runs = [run_in(tmp_path / "a", 1, **ensemble("a", "b")), run_in(tmp_path / "b", 2, **renamed)]
    if is_same:
        check_runs("student", runs)
    else:
        with pytest.raises(ValueError, match="recipes.*teacher.teachers"):
            check_runs("student", runs)


def test_evaluation_rows_can_differ(tmp_path):
    splits = {"validation": {"sha256": "ab"}, "test": {"sha256": "cd"}}
    check_runs("student", [run_in(tmp_path / "a", 1), run_in(tmp_path / "b", 2, dataset={"splits": splits})])


def test_the_same_weights_twice_are_refused(tmp_path):
    folder = run_in(tmp_path / "a", 1)
    with pytest.raises(ValueError, match="have the same weights, so they are not two runs"):
        check_runs("student", [folder, folder])
    with pytest.raises(ValueError, match="have the same weights"):
        check_runs("student", [folder, run_in(tmp_path / "b", 1)])
    with pytest.raises(ValueError, match="have the same weights"):
        check_runs("student", [tiny_model(1), tiny_model(1)])
    check_runs("student", [tiny_model(1, seed=1), tiny_model(1, seed=2)])


def test_a_run_without_a_record_is_averaged_with_a_warning(tmp_path, caplog):
    tiny_model(1, seed=9).save_pretrained(tmp_path / "b")
    check_runs("student", [run_in(tmp_path / "a", 1), str(tmp_path / "b")])
    (record,) = caplog.records
    assert record.message.startswith("student: there is no record (distillation.json) of ")
