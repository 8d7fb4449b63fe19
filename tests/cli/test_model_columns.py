"""The students of `hf-distill compare`: names, seeds, and paths that contain commas or equals signs."""

import json

import pytest

from hf_distill.cli.model_columns import read_models, read_students


@pytest.mark.parametrize(
    ("words", "students"),
    [
        (["a"], {"student": ["a"]}),
        (["a,b"], {"student": ["a", "b"]}),
        (["a", "b"], {"student": ["a", "b"]}),
        (["small=a", "tiny=b"], {"small": ["a"], "tiny": ["b"]}),
        (["small=a", "b", "small=c", "tiny=d,e"], {"small": ["a", "c"], "student": ["b"], "tiny": ["d", "e"]}),
        (["small=user/model"], {"small": ["user/model"]}),
        (["small=out/lr=3"], {"small": ["out/lr=3"]}),
    ],
)
def test_a_name_is_a_column_and_paths_with_one_name_are_its_seeds(words, students):
    assert read_students(words) == students


def test_a_path_that_exists_is_never_split(tmp_path, monkeypatch):
    for name in ("lr=0.1", "a,b", "c"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_students(["lr=0.1", "a,b"]) == {"student": ["lr=0.1", "a,b"]}
    assert read_students(["x=a,b", "y=lr=0.1", "y=c,d"]) == {"x": ["a,b"], "y": ["lr=0.1", "c", "d"]}


def test_the_home_folder_is_found_behind_a_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert read_students(["small=~/run"]) == {"small": ["/home/someone/run"]}


@pytest.mark.parametrize("word", ["=a", "small=", "a,", ",", "small=a,,b", ""])
def test_a_word_without_a_name_or_a_path_is_refused(word):
    with pytest.raises(ValueError, match=r"takes \[name=\]path"):
        read_students([word])


def test_a_baseline_whose_path_has_a_comma_is_one_run(tmp_path):
    (tmp_path / "a,b").mkdir()
    assert read_models("t", ["s"], None, f"{tmp_path}/a,b")["baseline"] == [f"{tmp_path}/a,b"]
    assert read_models("t", ["s"], None, "a,b")["baseline"] == ["a", "b"]
    with pytest.raises(ValueError, match="--baseline_model_name_or_path takes a path"):
        read_models("t", ["s"], None, "a,")


@pytest.mark.parametrize("name", ["teacher", "baseline"])
def test_the_names_of_other_columns_are_refused(name):
    with pytest.raises(ValueError, match=f"names a student '{name}'"):
        read_students([f"{name}=a"])


def write_export(folder, *files):
    variants = {str(i): {"file": file} for i, file in enumerate(files)}
    for name in ("tokenizer.json", *files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "export.json").write_text(json.dumps({"variants": variants}))
    return folder


def test_an_export_needs_a_name_that_no_student_has(tmp_path):
    for name in ("x", "y"):
        write_export(tmp_path / name, "onnx/model.onnx")
    exports = f"int8={tmp_path}/x,fp32={tmp_path}/y"
    models = read_models("t", ["small=a", "b"], exports, "c")
    assert list(models) == ["teacher", "small", "student", "int8", "fp32", "baseline"]
    assert models["fp32"] == f"{tmp_path}/y/onnx/model.onnx"
    with pytest.raises(ValueError, match="a new name"):
        read_models("t", ["small=a"], f"small={tmp_path}/x", None)


def test_a_folder_that_is_no_export_is_not_taken_for_a_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not an export"):
        read_models("t", None, f"int8={tmp_path}", None)


def test_one_of_several_variants_is_named_by_its_file(tmp_path):
    folder = write_export(tmp_path, "onnx/model.onnx", "onnx/model_quantized.onnx")
    with pytest.raises(ValueError, match="has the variants 0, 1. Pass the file of one of them"):
        read_models("t", None, f"int8={folder}", None)
    file = f"{folder}/onnx/model_quantized.onnx"
    assert read_models("t", None, f"int8={file}", None)["int8"] == file
