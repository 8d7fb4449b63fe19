"""Run every example on tiny files, each in a process of its own."""

import csv
import dataclasses
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from forked import run_forked
from safetensors.torch import load_file
from tiny import LABEL_NAMES, tiny_model, tiny_rows
from transformers import DistilBertForSequenceClassification

from hf_distill.cli import main
from hf_distill.cli.commands import COMMANDS
from hf_distill.cli.flags import flags_of

EXAMPLES = Path(__file__).parents[2] / "examples"
SHARED_FLAGS = ["--use_cpu", "--max_steps", "2", "--per_device_train_batch_size", "8", "--disable_tqdm", "true"]


def run_in_folder(folder, action):
    """Run a function in a process of its own that works in a folder, and return what it prints."""

    def run():
        os.chdir(folder)
        action()

    done = run_forked(run)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run(script, *arguments, cwd, flags=SHARED_FLAGS):
    """Run an example with flags."""

    def run_script():
        sys.argv, sys.path[0] = [script, *map(str, arguments), *flags], str(EXAMPLES)
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")

    return run_in_folder(cwd, run_script)


def write_teacher(folder, tokenizer, num_labels, names):
    teacher = tiny_model(num_hidden_layers=4, num_labels=num_labels, seed=1)
    teacher.config.id2label = dict(enumerate(names))
    teacher.config.label2id = {name: i for i, name in enumerate(names)}
    teacher.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_custom_files(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    *labelled, unlabelled = names
    for seed, name in enumerate(labelled):
        with (folder / name).open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            rows.writerows((row["text"], LABEL_NAMES[row["label"]]) for row in tiny_rows(16, seed))
    (folder / unlabelled).write_text("\n".join(row["text"] for row in tiny_rows(16, 2)))


def test_run_glue_distills_a_pair_task_into_a_distilbert(tmp_path, tokenizer):
    write_teacher(tmp_path / "teacher", tokenizer, 2, ["not_equivalent", "equivalent"])
    (tmp_path / "MRPC").mkdir()
    for name, seed in (("train", 0), ("dev", 1)):
        lines = [f"{i % 2}\t1\t2\t{row['text']}\t{row['text_pair']}" for i, row in enumerate(tiny_rows(16, seed))]
        text = "\n".join(["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", *lines, ""])
        (tmp_path / "MRPC" / f"{name}.tsv").write_text(text, encoding="utf-8-sig")
    output = run(
        "run_glue.py", "--task_name", "mrpc", "--data_dir", tmp_path, "--teacher_model_name_or_path",
        tmp_path / "teacher", "--student_num_hidden_layers", 2, "--student_architecture", "distilbert",
        "--output_dir", tmp_path / "out", cwd=tmp_path,
    )  # fmt: skip
    assert "gap closed" in output
    assert DistilBertForSequenceClassification.from_pretrained(tmp_path / "out").config.n_layers == 2


def test_distill_custom_dataset_learns_from_unlabelled_text(tmp_path, tokenizer):
    write_teacher(tmp_path / "teacher", tokenizer, 3, LABEL_NAMES)
    write_custom_files(tmp_path, ("train.csv", "validation.csv", "texts.txt"))
    output = run(
        "distill_custom_dataset.py", "--teacher_model_name_or_path", tmp_path / "teacher", "--train_file",
        tmp_path / "train.csv", "--validation_file", tmp_path / "validation.csv", "--transfer_file",
        tmp_path / "texts.txt", "--student_num_hidden_layers", 2, "--output_dir", tmp_path / "out", cwd=tmp_path,
    )  # fmt: skip
    assert "baseline (no teacher)" in output
    assert "'label':" in output


def test_hf_distill_train_takes_the_flags_of_distill_custom_dataset():
    script = runpy.run_path(str(EXAMPLES / "distill_custom_dataset.py"), run_name="example")
    names = {field.name for field in dataclasses.fields(script["ScriptArguments"])}
    assert names - {flag.name for flag in flags_of(COMMANDS["train"].classes)} == set()


def write_encoder(folder, tokenizer):
    tiny_model(num_hidden_layers=3, seed=1).bert.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_distill_token_classifier_learns_from_sentences_without_tags(tmp_path, tokenizer):
    write_encoder(tmp_path / "encoder", tokenizer)
    for name, seed in (("train", 0), ("dev", 1)):
        sentences = [row["text"].split() for row in tiny_rows(20, seed)]
        tagged = [
            [f"{word}\t{'B-thing' if word in ('film', 'plot', 'actor') else 'O'}" for word in s] for s in sentences
        ]
        (tmp_path / f"{name}.conll").write_text("\n\n".join("\n".join(lines) for lines in tagged))
    output = run(
        "distill_token_classifier.py", "--model_name_or_path", tmp_path / "encoder", "--train_file",
        tmp_path / "train.conll", "--validation_file", tmp_path / "dev.conll", "--max_labelled", 8,
        "--num_hidden_layers", 2, "--output_dir", tmp_path / "out", "--learning_rate", "3e-3", cwd=tmp_path,
    )  # fmt: skip
    assert "entity_f1" in output
    record = json.loads((tmp_path / "out" / "distillation.json").read_text())
    assert (record["dataset"]["train_rows"], record["dataset"]["unlabelled_rows"]) == (8, 12)
    assert 'pipeline("token-classification"' in (tmp_path / "out" / "README.md").read_text()


def test_distill_multi_label_reads_the_original_files(tmp_path, tokenizer):
    write_encoder(tmp_path / "encoder", tokenizer)
    (tmp_path / "labels.txt").write_text("joy\nanger\nfear\n")
    for name, seed in (("train", 0), ("dev", 1)):
        rows = [f"{row['text']}\t{','.join(map(str, range(row['label'] + 1)))}\tid" for row in tiny_rows(20, seed)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(rows))
    output = run(
        "distill_multi_label.py", "--data_dir", tmp_path, "--model_name_or_path", tmp_path / "encoder", "--output_dir",
        tmp_path / "out", "--num_hidden_layers", 2, "--max_seq_length", 32, "--teacher_cache_dir", tmp_path / "cache",
        "--max_labelled", 15, "--teacher_num_train_epochs", 1, cwd=tmp_path,
    )  # fmt: skip
    assert "f1_micro" in output
    dataset = json.loads((tmp_path / "out" / "distillation.json").read_text())["dataset"]
    assert (dataset["train_rows"], dataset["unlabelled_rows"]) == (15, 5)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"


def test_pretrain_student_makes_a_student_that_is_then_trained_on_a_task(tmp_path, tokenizer):
    write_encoder(tmp_path / "encoder", tokenizer)
    write_teacher(tmp_path / "teacher", tokenizer, 3, LABEL_NAMES)
    write_custom_files(tmp_path, ("train.csv", "validation.csv", "text.txt"))
    text = ["--train_file", tmp_path / "text.txt", "--validation_file", tmp_path / "text.txt", "--max_seq_length", 32]
    given = [*text, "--teacher_model_name_or_path", tmp_path / "encoder", "--output_dir", tmp_path / "general"]
    with pytest.raises(AssertionError, match="its head is random"):
        run("pretrain_student.py", *given, cwd=tmp_path)
    output = run("pretrain_student.py", *given, "--fine_tune_teacher", "--num_hidden_layers", 2, cwd=tmp_path)
    assert "Perplexity of the masked words: teacher" in output
    record = json.loads((tmp_path / "general" / "distillation.json").read_text())
    assert record["objectives"].keys() == {"kl", "ce", "hidden_cosine"}
    main([
        "train", *train_flags(tmp_path), "--student_model_name_or_path", f"{tmp_path}/general", "--max_steps", "1",
        "--output_dir", f"{tmp_path}/out",
    ])  # fmt: skip
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("general", "out"))
    name = "bert.embeddings.word_embeddings.weight"
    assert 0 < (before[name] - after[name]).abs().max() < 1e-3  # one step from the pretrained weights


def train_flags(folder):
    """Flags of `hf-distill train` for the files of `write_custom_files` and the teacher of `write_teacher`."""
    return [
        "--teacher_model_name_or_path", f"{folder}/teacher", "--train_file", f"{folder}/train.csv",
        "--validation_file", f"{folder}/validation.csv", "--use_cpu", "--teacher_cache_dir", f"{folder}/cache",
    ]  # fmt: skip


def test_distill_an_ensemble_compares_it_with_one_teacher(tmp_path, tokenizer):
    write_encoder(tmp_path / "encoder", tokenizer)
    write_custom_files(tmp_path / "out" / "data", ("labelled.csv", "test.csv", "unlabelled.txt"))
    output = run(
        "distill_an_ensemble.py", "--quick", "--num_teachers", 2, "--num_hidden_layers", 2, "--output_dir", "out",
        "--model_name_or_path", "encoder", cwd=tmp_path, flags=(),
    )  # fmt: skip
    assert "student without a teacher" in output
    assert "Student of the ensemble against student of one teacher: " in output


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_runs_to_its_table(tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py"), "--output_dir", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "gap closed" in done.stdout
