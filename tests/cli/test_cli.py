"""`hf-distill train` end to end on tiny data and models, as a user starts it."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
import yaml
from command_line import flags
from docs_folder import save
from tiny import LABEL_NAMES, TINY, tiny_model, tiny_rows, tiny_tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2Model,
    pipeline,
)

from hf_distill.cli import main
from hf_distill.data.seen_rows import hash_texts, read_row_hashes
from hf_distill.hub.upload import files_to_push


def test_train_leaves_a_student_a_baseline_a_record_and_a_table(folder, tmp_path, capsys):
    out = tmp_path / "out"
    main(["train", *flags(folder, out, transfer_file=folder / "transfer.txt"), "--baseline"])
    table = capsys.readouterr().out
    assert all(word in table for word in ("teacher", "student", "baseline (no teacher)", "gap closed"))
    student = AutoModelForSequenceClassification.from_pretrained(out)
    assert student.config.num_hidden_layers == 2
    assert pipeline("text-classification", model=str(out))(["a great film"])[0]["label"] in LABEL_NAMES
    assert AutoModelForSequenceClassification.from_pretrained(out / "baseline").config.num_hidden_layers == 2
    record = json.loads((out / "distillation.json").read_text())
    read = record["dataset"].pop("splits")
    assert {role: split["files"][0]["name"] for role, split in read.items()} == {
        "train": "train.csv",
        "validation": "validation.csv",
        "transfer": "transfer.txt",
    }
    assert len({split["sha256"] for split in read.values()}) == 3
    seen = read_row_hashes(out, record["row_hashes"])
    assert {split: len(hashes) for split, hashes in seen.items()} == {"train": 24, "validation": 24, "transfer": 10}
    assert set(hash_texts([row["text"] for row in tiny_rows(24, 0)])) <= {*seen["train"], *seen["validation"]}
    assert record["dataset"] == {
        "id": "train.csv", "config": None, "train_rows": 24, "unlabelled_rows": 10, "eval_rows": 24,
        "eval_split": "validation",
        "transfer": {"sources": [{"name": "transfer.txt", "rows": 10, "drawn": 10}], "not_drawn": 0, "rows": 10},
    }  # fmt: skip
    assert record["metrics"].keys() == {"teacher", "student", "baseline"}
    assert record["training"]["max_steps"] == 5  # 34 rows, 8 a step
    baseline = json.loads((out / "baseline" / "distillation.json").read_text())
    assert baseline["training"]["max_steps"] == 5
    assert read_row_hashes(out / "baseline", baseline["row_hashes"]).keys() == {"train", "validation"}
    assert not any(name.endswith(".npz") for name in files_to_push(out))
    assert baseline["objectives"].keys() == {"ce"}


def test_the_table_shows_what_a_linear_model_gets(folder, tmp_path, capsys):
    out = tmp_path / "out"
    texts = {"transfer_file": folder / "transfer.txt", "cache_teacher_outputs": True, "max_steps": 1}
    main(["train", *flags(folder, out, **texts)])
    table = capsys.readouterr().out
    floor = json.loads((out / "distillation.json").read_text())["floor"]
    assert {name: fit["rows"] for name, fit in floor.items()} == {"labels": 24, "teacher_answers": 34}
    (line,) = (line for line in table.splitlines() if line.startswith("| TF-IDF, labels"))
    assert f" {floor['labels']['metrics']['accuracy']:.4f} |" in line
    assert "| TF-IDF, teacher's answers" in table


def test_test_rows_are_evaluated_at_the_end(folder, tmp_path, capsys):
    out, test = tmp_path / "out", tmp_path / "test.csv"
    rows = tiny_rows(20, seed=5)
    test.write_text("text,label\n" + "".join(f"{row['text']},{LABEL_NAMES[row['label']]}\n" for row in rows))
    main(["train", *flags(folder, out, test_file=test, max_steps=1, baseline=True, learning_rate=0.1)])
    record = json.loads((out / "distillation.json").read_text())
    batch = tiny_tokenizer()([row["text"] for row in rows], padding=True, return_tensors="pt")
    labels = torch.tensor([row["label"] for row in rows])
    scores = {}
    for name, path in {"teacher": folder / "teacher", "student": out, "baseline": out / "baseline"}.items():
        logits = AutoModelForSequenceClassification.from_pretrained(path)(**batch).logits
        scores[name] = (logits.argmax(-1) == labels).float().mean().item()
        assert record["test"][name]["accuracy"] == pytest.approx(scores[name])
        if name != "teacher":
            loss = torch.nn.functional.cross_entropy(logits, labels).item()
            assert record["test"][name]["loss_ce"] == pytest.approx(loss, rel=1e-4)
    assert record["test"]["rows"] == 20
    printed = ", ".join(f"{name} {100 * score:.1f} %" for name, score in scores.items())
    assert f"accuracy on the 20 test rows: {printed}" in capsys.readouterr().out
    card = (out / "README.md").read_text()
    assert "Evaluated on validation.csv, 24 rows." in card
    assert f"(test.csv, 20 rows), accuracy: teacher {scores['teacher']:.4f}" in card
    assert f", baseline (no teacher) {scores['baseline']:.4f}." in card


def test_test_rows_without_labels_are_refused(folder, tmp_path, capsys):
    (tmp_path / "test.csv").write_text("text\na text\n")
    with pytest.raises(SystemExit):
        main(["train", *flags(folder, tmp_path / "out", test_file=tmp_path / "test.csv")])
    assert "The rows of --test_file have no labels" in capsys.readouterr().err


def test_flags_win_over_the_recipe(folder, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({
        "teacher_model_name_or_path": str(folder / "teacher"), "train_file": str(folder / "train.csv"),
        "validation_file": str(folder / "validation.csv"), "student_layers": "0,3", "max_steps": 1, "use_cpu": True,
        "objectives": {"ce": 0.2, "kl": {"weight": 0.8, "temperature": 3.0}}, "learning_rate": 1e-3,
    }))  # fmt: skip
    main(["train", "--config", str(recipe), "--learning_rate", "0.002", "--output_dir", str(tmp_path / "out")])
    record = json.loads((tmp_path / "out" / "distillation.json").read_text())
    assert record["training"]["learning_rate"] == 0.002
    assert record["objectives"]["kl"] == {"temperature": 3.0, "weight": 0.8}
    assert record["student"]["num_hidden_layers"] == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ce: {weight: 0.2, class_weights: {negative: 2, positive: 0.5}}", [2.0, 1.0, 0.5]),
        ("ce:\n    class_weights: balanced", None),
    ],
)
def test_a_recipe_weights_classes_by_name(folder, tmp_path, line, expected):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"objectives:\n  {line}\n  kl: 1.0\n")
    main(["train", "--config", str(recipe), *flags(folder, tmp_path / "out", max_steps=1)])
    record = json.loads((tmp_path / "out" / "distillation.json").read_text())
    if expected is None:  # 24 rows, 3 classes: 24 / (3 * rows of the class)
        rows = [row["label"] for row in tiny_rows(24, 0)]
        expected = [24 / (3 * rows.count(label)) for label in range(3)]
    weights = record["objectives"]["ce"]["class_weights"]
    assert [weights.get(name, 1.0) for name in LABEL_NAMES] == pytest.approx(expected)


def test_tokens_and_local_folders_are_not_written_to_record_or_card(folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["train", *flags(folder, out, max_steps=1, hub_token="hf_canary0123456789")]
    main(arguments)
    written = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert not any(b"hf_canary" in content for content in written)
    assert not any(str(folder).encode() in content for content in written)
    command = json.loads((out / "distillation.json").read_text())["command"]
    assert command[:2] == ["hf-distill", "train"]
    assert command[command.index("--hub_token") + 1] == "[redacted]"


def test_an_error_of_the_student_is_raised_before_the_teacher_is_fine_tuned(folder, tmp_path, capsys):
    changes = {"student_num_hidden_layers": 9, "fine_tune_teacher": True}
    with pytest.raises(SystemExit):
        main(["train", *flags(folder, tmp_path / "out", **changes)])
    assert not (tmp_path / "out" / "teacher").exists()


def test_a_pretrained_teacher_is_fine_tuned_first(folder, tmp_path, tokenizer, capsys):
    tiny_model(num_hidden_layers=4, seed=1).bert.save_pretrained(tmp_path / "pretrained")
    tokenizer.save_pretrained(tmp_path / "pretrained")
    out = tmp_path / "out"
    changes = {"teacher_model_name_or_path": tmp_path / "pretrained", "teacher_num_train_epochs": 2}
    main(["train", *flags(folder, out, **changes), "--fine_tune_teacher"])
    teacher = json.loads((out / "teacher" / "distillation.json").read_text())
    assert teacher["training"]["max_steps"] == 6
    dataset = teacher["dataset"]
    assert (dataset["train_rows"], dataset["eval_rows"], dataset["eval_split"]) == (24, 24, "validation")
    splits = json.loads((out / "distillation.json").read_text())["dataset"]["splits"]
    assert dataset["splits"] == splits
    assert splits["train"]["files"][0]["name"] == "train.csv"
    config = AutoModelForSequenceClassification.from_pretrained(out / "teacher").config
    assert sorted(config.label2id) == sorted({LABEL_NAMES[row["label"]] for row in tiny_rows(24, 0)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_file": "absent.csv"}, "absent.csv"),
        ({"student_num_hidden_layers": 9}, "9"),
        ({"student_num_hidden_layers": None}, "No student given"),
        ({"temperature": -1}, "`temperature` must be a finite number >= 0.001, got -1"),
        ({"text_column_names": "review"}, "review"),
        ({"train_file": None}, "No labelled rows given"),
        ({"learning_rte": 1}, "--learning_rte"),
        ({"temperature": "warm"}, "warm"),
        ({"student_num_hidden_layers": None, "student_layers": "0,a"}, "--student_layers takes numbers"),
        ({"student_num_hidden_layers": None, "student_layers": "last"}, "Pass --student_num_hidden_layers too"),
        ({"student_layers": "0,2"}, "--student_num_hidden_layers 2 and --student_layers 0,2 both say how many layers"),
        ({"config": "broken.yaml"}, "broken.yaml"),
        ({"train_file": None, "task_name": "sst3"}, "sst3"),
        ({"task_name": "sst2"}, "--task_name and --train_file all name labelled rows"),
        (
            {"train_file": None, "task_name": "sst2", "metric_name": "f1"},
            "The GLUE task sst2 sets --validation_file, --metric_name itself",
        ),
        (
            {"student_num_hidden_layers": None, "student_model_name_or_path": "student", "student_static_dim": 8},
            "--student_model_name_or_path and --student_static_dim name different students",
        ),
        ({"augment": 0}, "--augment takes a number from 1 on"),
        ({"augment_masked_lm": "model"}, "it needs --augment N"),
        ({"student_static_dim": 8}, "--student_num_hidden_layers and --student_static_dim name different students"),
        ({"student_revision": "main"}, "need --student_model_name_or_path"),
        ({"teacher_model_name_or_path": None}, "there are no layers to copy"),
        (
            {
                "baseline": True,
                "load_best_model_at_end": True,
                "metric_for_best_model": "agreement",
                "eval_strategy": "epoch",
                "save_strategy": "epoch",
                "teacher_model_name_or_path": "absent",
            },
            "baseline",
        ),
        ({"teacher_model_name_or_path": "absent"}, "absent"),
    ],
)
def test_an_error_of_the_user_is_one_message_and_status_2(folder, tmp_path, capsys, changes, message):
    with pytest.raises(SystemExit) as stopped:
        main(["train", *flags(folder, tmp_path / "out", **changes)])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_the_command_is_installed_and_lists_its_commands():
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    done = subprocess.run(["hf-distill", "--help"], capture_output=True, text=True, env=environment, check=True)
    assert "train" in done.stdout
    unknown = subprocess.run(["hf-distill", "trian"], capture_output=True, text=True, env=environment)
    assert unknown.returncode == 2
    assert "unknown command 'trian'" in unknown.stderr


def test_multi_label_rows_give_the_same_student_with_and_without_the_cache_command(tmp_path, tokenizer, capsys):
    names = ["a", "b", "c"]
    for name, num_hidden_layers in (("teacher", 3), ("student", 2)):
        model = tiny_model(num_hidden_layers, seed=num_hidden_layers, problem_type="multi_label_classification")
        model.config.id2label, model.config.label2id = dict(enumerate(names)), {n: i for i, n in enumerate(names)}
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    for name, seed in (("train", 0), ("validation", 1)):
        lines = [{"text": r["text"], "label": names[: r["label"]]} for r in tiny_rows(12, seed)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "transfer.txt").write_text("\n".join(row["text"] for row in tiny_rows(5, seed=2)))
    data = ["--train_file", f"{tmp_path}/train.jsonl", "--validation_file", f"{tmp_path}/validation.jsonl"]
    data += ["--transfer_file", f"{tmp_path}/transfer.txt"]
    teacher = ["--teacher_model_name_or_path", f"{tmp_path}/teacher"]
    student = ["--student_model_name_or_path", f"{tmp_path}/student", "--num_train_epochs", "1", "--use_cpu"]
    main(["train", *teacher, *data, *student, "--baseline", "--output_dir", f"{tmp_path}/live"])
    assert "f1_micro" in capsys.readouterr().out
    store = ["--teacher_cache_dir", f"{tmp_path}/store", "--output_dir", f"{tmp_path}/labelled", "--use_cpu"]
    main(["cache", *teacher, *data, *store])
    main(["train", "--dataset_name", f"{tmp_path}/labelled", *student, "--output_dir", f"{tmp_path}/cached"])
    live, cached = (json.loads((tmp_path / name / "distillation.json").read_text()) for name in ("live", "cached"))
    assert (live["problem_type"], live["dataset"]["unlabelled_rows"]) == ("multi_label_classification", 5)
    for name in ("loss", "loss_kl", "loss_ce", "f1_micro"):
        assert cached["metrics"]["student"][name] == pytest.approx(live["metrics"]["student"][name], rel=1e-4)


def test_train_takes_a_student_with_another_tokenizer(folder, tmp_path, capsys):
    from letters import letters_tokenizer, roberta

    roberta().save_pretrained(tmp_path / "teacher")
    letters_tokenizer(140).save_pretrained(tmp_path / "teacher")
    tiny_model(num_hidden_layers=1, seed=2).save_pretrained(tmp_path / "student")
    tiny_tokenizer().save_pretrained(tmp_path / "student")
    given = flags(
        folder, tmp_path / "out", teacher_model_name_or_path=tmp_path / "teacher", student_num_hidden_layers=None,
        student_model_name_or_path=tmp_path / "student", transfer_file=folder / "transfer.txt",
        cache_teacher_outputs=True, teacher_cache_dir=tmp_path / "cache", transfer_min_confidence=0.01,
    )  # fmt: skip
    main(["train", *given, "--baseline", "--fine_tune_teacher", "--teacher_num_train_epochs", "1"])
    assert "baseline (no teacher)" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "distillation.json").read_text())
    assert record["teacher"]["model_type"] == "roberta"
    assert record["latency"].keys() == {"teacher", "student", "baseline"}
    assert pipeline("text-classification", model=str(tmp_path / "out"))(["a great film"])[0]["label"] in LABEL_NAMES


def test_a_student_can_have_the_first_layers_and_some_of_the_neurons(folder, tmp_path):
    more = {"student_num_hidden_layers": 2, "student_layers": "first", "student_intermediate_size": 8, "max_steps": 1}
    main(["train", *flags(folder, tmp_path / "out", **more)])
    student = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert (student.config.num_hidden_layers, student.config.intermediate_size) == (2, 8)


def test_neurons_are_chosen_on_the_same_rows_in_every_run(folder, tmp_path):
    weights = []
    for name in ("a", "b"):
        main(["train", *flags(folder, tmp_path / name, student_intermediate_size=8, max_steps=1)])
        weights.append(AutoModelForSequenceClassification.from_pretrained(tmp_path / name).state_dict())
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


def test_variants_of_the_labelled_texts_are_more_rows_to_train_on(folder, tmp_path, capsys):
    out = tmp_path / "out"
    main(["train", *flags(folder, out, augment=2, cache_teacher_outputs=True)])
    record = json.loads((out / "distillation.json").read_text())
    report = record["dataset"]["transfer"]
    augmentation = report["augmentation"]
    assert 24 < augmentation["variants"] <= augmentation["made"] < augmentation["asked"] == 48
    assert report["rows"] == record["dataset"]["unlabelled_rows"] == augmentation["variants"]
    assert record["training"]["max_steps"] == -(-(24 + augmentation["variants"]) // 8)
    assert 0 < augmentation["same_answer"] <= 1
    printed = capsys.readouterr().out
    assert f"{augmentation['variants']:,} variants of the labelled texts" in printed
    assert f"{48 - augmentation['made']} variants that repeat a text" in printed
    assert f"The teacher gives {augmentation['same_answer']:.1%} of the variants" in printed


def test_only_labelled_texts_have_variants_and_the_card_counts_them(folder, tmp_path):
    out, rows = tmp_path / "out", tmp_path / "rows.csv"
    lines = (folder / "train.csv").read_text().splitlines()
    rows.write_text("\n".join([*lines, *(f"the plot number {i} is great," for i in range(9))]))
    main(["train", *flags(folder, out, train_file=rows, augment=2, cache_teacher_outputs=True, max_steps=1)])
    augmentation = json.loads((out / "distillation.json").read_text())["dataset"]["transfer"]["augmentation"]
    assert augmentation["asked"] == 2 * (len(lines) - 1)
    assert 0 < augmentation["same_answer"] <= 1
    variants = f"{augmentation['variants']} variants of the labelled texts by neighbors, mask, ngram, join"
    assert variants in (out / "README.md").read_text()


@pytest.mark.parametrize("columns", [1, 2])
def test_a_regression_with_variants_has_the_floor_of_the_teachers_answers(columns, tmp_path, tokenizer):
    save(tiny_model(3, num_labels=1, problem_type="regression"), tmp_path / "teacher", tokenizer)
    rows = [row["text"] for row in tiny_rows(40, seed=3)]
    texts = [rows[:20]] if columns == 1 else [rows[:20], rows[20:]]
    header = ["text"] if columns == 1 else ["sentence1", "sentence2"]
    lines = [",".join([*line, str(i / 4)]) for i, line in enumerate(zip(*texts, strict=True))]
    for name, part in (("train", lines[:12]), ("validation", lines[12:])):
        (tmp_path / f"{name}.csv").write_text("\n".join([",".join([*header, "score"]), *part]))
    more = {
        "augment": 1,
        "cache_teacher_outputs": True,
        "baseline": True,
        "max_steps": 1,
        "label_column_name": "score",
    }
    main(["train", *flags(tmp_path, tmp_path / "out", **more)])
    floor = json.loads((tmp_path / "out" / "distillation.json").read_text())["floor"]
    assert floor["labels"]["rows"] == 12 < floor["teacher_answers"]["rows"]


def test_a_masked_language_model_proposes_words_for_variants(folder, tmp_path, capsys):
    torch.manual_seed(0)
    save(BertForMaskedLM(BertConfig(**TINY, num_hidden_layers=1)), tmp_path / "masked", tiny_tokenizer())
    out, variants = tmp_path / "out", {}
    for masked_lm in (tmp_path / "masked", None):
        more = {"augment": 2, "augment_masked_lm": masked_lm, "max_steps": 1, "overwrite_output_dir": True}
        main(["train", *flags(folder, out, **more)])
        transfer = json.loads((out / "distillation.json").read_text())["dataset"]["transfer"]
        variants[masked_lm] = transfer["augmentation"]
    proposed = variants[tmp_path / "masked"]
    assert (proposed["masked_lm"]["name_or_path"], proposed["masked_lm"]["num_hidden_layers"]) == ("masked", 1)
    assert proposed["methods"] == {"masked_lm": 0.4, "mask": 0.2, "ngram": 0.2, "join": 0.2}
    assert variants[None]["methods"] == {"neighbors": 0.4, "mask": 0.2, "ngram": 0.2, "join": 0.2}
    assert "variants of the labelled texts by masked_lm, mask, ngram, join" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("classifier", "has no weights for .* so the words that it proposes would be random"),
        ("absent", "The masked language model .* cannot be loaded: there is no such folder"),
        ("generator", "is a model with a GPT2Config, which has no head for masked words"),
    ],
)
def test_a_model_that_cannot_propose_words_is_refused(folder, tmp_path, capsys, model, message):
    save(tiny_model(2), tmp_path / "classifier", tiny_tokenizer())
    generator = GPT2Model(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=24))
    save(generator, tmp_path / "generator", tiny_tokenizer())
    with pytest.raises(SystemExit):
        main(["train", *flags(folder, tmp_path / "out", augment=2, augment_masked_lm=tmp_path / model)])
    assert re.search(message, capsys.readouterr().err)


def test_variants_join_other_unlabelled_text(folder, tmp_path):
    out = tmp_path / "out"
    main(["train", *flags(folder, out, augment=1, transfer_file=folder / "transfer.txt", max_steps=1)])
    report = json.loads((out / "distillation.json").read_text())["dataset"]["transfer"]
    assert report["rows"] == 10 + report["augmentation"]["variants"]
