"""The docs agree with the code."""

import re
from pathlib import Path

import pytest
from datasets import Dataset
from objectives_table import objectives_table
from tiny import tiny_model, tiny_rows, tiny_tokenizer

from hf_distill import compare_models
from hf_distill.objectives import LOGIT_OBJECTIVES, OBJECTIVES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_python_code_of_the_readme_scores_a_teacher_with_another_order_by_name(tmp_path, monkeypatch):
    """The second class in alphabetical order is the positive class of F1, wherever the teacher has it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    names = ("positive", "negative")
    teacher = tiny_model(4, 2, id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})
    folder = tmp_path / "demo_output/student/teacher"
    teacher.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    (tmp_path / "demo_output/data").mkdir()
    rows = [(row["text"], ("negative", "positive")[row["label"] > 0]) for row in tiny_rows(60)]
    for name in ("labelled.csv", "test.csv"):
        lines = [",".join(row) for row in rows]
        (tmp_path / "demo_output/data" / name).write_text("\n".join(["text,label", *lines]))
    block = re.findall(r"```python\n(.*?)```", (DOCS.parent / "README.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    values = {}
    exec(block, values)
    answers = [teacher(**tiny_tokenizer()(text, return_tensors="pt")).logits.argmax().item() for text, _ in rows]
    is_found = [names[i] == "positive" for i in answers]
    is_positive = [label == "positive" for _, label in rows]
    num_right = sum(a and b for a, b in zip(is_found, is_positive, strict=True))
    f1 = 2 * num_right / (sum(is_found) + sum(is_positive))
    assert (tmp_path / "my_student/model.safetensors").exists()
    metrics = values["trainer"].evaluate()
    assert metrics["eval_teacher_f1"] == pytest.approx(f1)
    accuracy = sum(a == b for a, b in zip(is_found, is_positive, strict=True)) / 60
    assert metrics["eval_teacher_accuracy"] == pytest.approx(accuracy)
    assert f1 != pytest.approx(2 * (60 * accuracy - num_right) / (120 - sum(is_found) - sum(is_positive)))


def test_the_table_of_objectives_is_up_to_date():
    # After a change: python tools/objectives_table.py
    assert objectives_table() in (DOCS / "objectives.md").read_text(encoding="utf-8")


def test_the_docs_explain_every_soft_loss():
    explained, _ = (DOCS / "objectives.md").read_text(encoding="utf-8").split("## Objectives\n")
    assert set(LOGIT_OBJECTIVES) <= set(re.findall(r"^\| `(\w+)` \|", explained, re.MULTILINE))


def test_every_objective_names_its_paper():
    assert all("https://huggingface.co/papers/" in objective.paper for objective in OBJECTIVES.values())


def test_the_schema_of_a_report_names_every_key():
    models = {"teacher": tiny_model(3, seed=1), "student": tiny_model(2, seed=2), "baseline": tiny_model(2, seed=3)}
    rows = Dataset.from_list([{"text": row["text"], "label": row["label"]} for row in tiny_rows(24)])
    report = compare_models(models, rows, tiny_tokenizer(), shifted_dataset=rows, latency_rounds=1).to_dict()
    code = re.findall(r"`([^`\n]+)`", (DOCS / "report.md").read_text(encoding="utf-8"))
    parts = [report, report["task"], report["machine"], report["verdict"], report["disagreements"][0]]
    student = report["models"]["student"]
    parts += [student, *(student[name] for name in ("cost", "calibration", "deferral", "fidelity", "shifted"))]
    keys = {key.removesuffix("_scaled") for part in parts for key in part}
    assert keys - {word for words in code for word in re.findall(r"\w+", words)} == set()
