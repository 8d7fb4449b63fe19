"""Teachers that need no labels: entailment models and sentence encoders."""

import csv
import json

import numpy as np
import pytest
import torch
from command_line import flags
from datasets import Dataset
from tiny import LABEL_NAMES, named_model, tiny_model, tiny_rows, visible_to_caplog

from hf_distill import DistillationTrainer, DistillationTrainingArguments
from hf_distill.cli import main
from hf_distill.reporting.statistics import wilson_interval
from hf_distill.teachers import ZeroShotTeacher
from hf_distill.teachers.prior_correction import (
    CONTENT_FREE_TEXTS,
    PriorCorrection,
    content_free_bias,
    mean_probabilities,
    uniform_bias,
)

NLI = ("contradiction", "neutral", "ENTAILMENT")
CLASSES = ["good", "bad", "fun"]


@pytest.fixture(scope="module")
def places(tmp_path_factory, tokenizer):
    """Folders with an inference model, one of two classes, a classifier, and a sentence encoder; and texts."""
    folder = tmp_path_factory.mktemp("models")
    models = {
        "nli": named_model(*NLI), "two": named_model("entailment", "not_entailment"), "other": named_model("a", "b"),
        "unclear": named_model("entailment", "entailed", "x"), "encoder": tiny_model(2, seed=3).bert,
        "student": tiny_model(1, seed=5),
    }  # fmt: skip
    for name, model in models.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    (folder / "texts.txt").write_text("\n".join(f"{row['text']} {row['text_pair']}" for row in tiny_rows(40)))
    return folder


@pytest.fixture(scope="module")
def texts():
    return [row["text"] for row in tiny_rows(6)]


@torch.no_grad()
def test_the_logits_of_an_inference_model_are_those_of_its_own_forward_pass(places, texts, tokenizer):
    teacher = ZeroShotTeacher(places / "nli", CLASSES, "the film is {}")
    model = named_model(*NLI)
    expected = [
        [model(**tokenizer(text, f"the film is {name}", return_tensors="pt")).logits[0] for name in CLASSES]
        for text in texts
    ]
    entailment = [[float(values[2]) for values in row] for row in expected]
    assert teacher.logits(texts) == pytest.approx(np.array(entailment), abs=1e-5)
    several = ZeroShotTeacher(places / "nli", CLASSES, "the film is {}", multi_label=True)
    contrast = [[float(values[2] - values[0]) for values in row] for row in expected]
    assert several.logits(texts) == pytest.approx(np.array(contrast), abs=1e-5)
    assert ZeroShotTeacher(places / "two", CLASSES, multi_label=True).scorer.contradiction == 1


def test_the_probabilities_are_those_of_the_pipeline_of_transformers(places, texts):
    from transformers import pipeline

    classify = pipeline("zero-shot-classification", model=str(places / "nli"))
    for multi_label in (False, True):
        teacher = ZeroShotTeacher(places / "nli", CLASSES, multi_label=multi_label)
        assert teacher.hypotheses[0] == "This example is good."
        logits = torch.tensor(teacher.logits(texts))
        scores = logits.sigmoid() if multi_label else logits.softmax(dim=1)
        for text, row in zip(texts, scores.tolist(), strict=True):
            answer = classify(text, candidate_labels=CLASSES, multi_label=multi_label)
            by_name = dict(zip(answer["labels"], answer["scores"], strict=True))
            assert [by_name[name] for name in CLASSES] == pytest.approx(row, abs=1e-5)


@torch.no_grad()
def test_the_logits_of_a_sentence_encoder_are_cosines_divided_by_the_temperature(places, texts, tokenizer):
    descriptions = {"joy": "a fun film", "boredom": "a slow plot"}
    teacher = ZeroShotTeacher(places / "encoder", descriptions, temperature=0.5)
    model = tiny_model(2, seed=3).bert

    def mean(text):
        return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)

    expected = [
        [torch.cosine_similarity(mean(text), mean(d), dim=0).item() / 0.5 for d in descriptions.values()]
        for text in texts
    ]
    assert teacher.logits(texts) == pytest.approx(np.array(expected), abs=1e-4)
    assert teacher.labels == ["joy", "boredom"]


def test_the_pooling_of_sentence_transformers_is_read_from_its_file(places, tmp_path, texts, tokenizer):
    tiny_model(2, seed=3).bert.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    config = tmp_path / "1_Pooling" / "config.json"
    config.write_text(json.dumps({"word_embedding_dimension": 16, "pooling_mode_cls_token": True}))
    cls = ZeroShotTeacher(tmp_path, CLASSES)
    assert cls.scorer.pooling == "cls"
    assert not np.allclose(cls.logits(texts), ZeroShotTeacher(places / "encoder", CLASSES).logits(texts))
    config.write_text(json.dumps({"pooling_mode_lasttoken": True}))
    with pytest.raises(ValueError, match="pools by pooling_mode_lasttoken"):
        ZeroShotTeacher(tmp_path, CLASSES)


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        (["good", "Good"], {}, "Candidate labels repeat: good"),
        ({"a": "fun", "b": "fun"}, {}, "Descriptions repeat: fun"),
        (["good", " "], {}, "must not be empty"),
        (["good"], {}, "leaves nothing to decide"),
        (CLASSES, {"hypothesis_template": "This is it."}, r"must contain `\{\}` once"),
        (CLASSES, {"hypothesis_template": "{} or {}"}, r"must contain `\{\}` once"),
        (CLASSES, {"temperature": 0.0}, "`temperature` must be > 0"),
        (CLASSES, {"prior_correction": "balanced"}, "must be one of none, uniform, estimated, got 'balanced'"),
        (CLASSES, {"prior_correction": "uniform", "multi_label": True}, "it is for texts of exactly one class"),
        (CLASSES, {"model": "other"}, "needs one that is called entailment.* or a sentence encoder"),
        (CLASSES, {"model": "unclear"}, "needs one that is called entailment"),
        (CLASSES, {"model": "encoder", "multi_label": True}, "`multi_label` needs an entailment model"),
    ],
)
def test_bad_input_is_refused_before_the_teacher_runs(places, labels, changes, message):
    model = places / changes.pop("model", "nli")
    with pytest.raises(ValueError, match=message):
        ZeroShotTeacher(model, labels, **changes)


def test_a_text_in_place_of_labels_and_a_model_of_another_kind_are_refused(places, tmp_path):
    with pytest.raises(TypeError, match="must be a list of names or a dict"):
        ZeroShotTeacher(places / "nli", "good,bad")
    with pytest.raises(TypeError, match="whose order is the order of the classes, got a set"):
        ZeroShotTeacher(places / "nli", set(CLASSES))
    with pytest.raises(TypeError, match="must be texts, got None"):
        ZeroShotTeacher(places / "nli", {"good": "a good film", "bad": None})
    with pytest.raises(OSError, match="there is no such folder"):
        ZeroShotTeacher("no_such_model", CLASSES)
    with pytest.raises(ValueError, match="needs its `tokenizer`"):
        ZeroShotTeacher(named_model(*NLI), CLASSES)
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertForMaskedLM"]}')
    with pytest.raises(ValueError, match="is a BertForMaskedLM"):
        ZeroShotTeacher(tmp_path, CLASSES)


@pytest.mark.parametrize("texts", ["a great film", [("a", "b")], [None]])
def test_what_is_not_a_list_of_texts_has_no_logits(places, texts):
    teacher = ZeroShotTeacher(places / "encoder", CLASSES)
    with pytest.raises(TypeError, match="reads a list of texts"):
        teacher.logits(texts)
    assert teacher.logits([]).shape == (0, len(CLASSES))


def make_trainer(teacher, rows, tokenizer, folder, **changes):
    student = named_model(*(changes.pop("classes", CLASSES)), **changes.pop("config", {}))
    args = DistillationTrainingArguments(
        str(folder / "out"), use_cpu=True, report_to="none", max_steps=2, teacher_cache_dir=str(folder / "cache"),
        **changes,
    )  # fmt: skip
    return DistillationTrainer(student, teacher, args, train_dataset=rows, processing_class=tokenizer)


@pytest.fixture(scope="module")
def unlabelled(texts, tokenizer):
    dataset = Dataset.from_dict({"text": texts})
    return dataset.map(lambda rows: dict(tokenizer(rows["text"])), batched=True)


def test_the_uniform_bias_gives_all_classes_the_same_mean_probability():
    # sigmoid(ln 3 - d) + sigmoid(0 - d) = 1 for d = ln(3) / 2
    assert uniform_bias(np.array([[np.log(3), 0.0], [0.0, 0.0]])) == pytest.approx(
        [np.log(3) / 4, -np.log(3) / 4], abs=1e-3
    )
    logits = np.random.default_rng(0).normal(size=(50, 4)) * 6 + [9, 0, -20, 3]
    assert mean_probabilities(logits - uniform_bias(logits)) == pytest.approx([0.25] * 4, rel=1.01e-3)
    with pytest.raises(ValueError, match=r"found no bias in 2,000 steps: .* differ by up to 1e\+06"):
        uniform_bias(np.array([[1e6, 0.0], [1e6, 1.0], [0.0, 1e6]]))


def test_the_bias_of_texts_without_content_is_the_logarithm_of_their_mean_probabilities():
    # The mean of 3/4 and 1/2 is 5/8, and 3/8 is left.
    bias = content_free_bias(np.array([[np.log(3), 0.0], [0.0, 0.0]]))
    assert bias == pytest.approx([np.log(5 / 3) / 2, -np.log(5 / 3) / 2])


def test_many_biases_are_named_at_either_end_of_their_order():
    prior = PriorCorrection("estimated", [f"class {i}" for i in range(12)])
    prior.fit(np.arange(12.0)[None])
    assert "found on 1 texts without content" in str(prior)
    assert "class 11 +5.50, class 10 +4.50" in str(prior)
    assert "class 7 +1.50, 2 classes between them, class 4 -1.50" in str(prior)


def test_logits_are_corrected_without_a_trainer(places, texts):
    plain = ZeroShotTeacher(places / "nli", CLASSES).logits(texts)
    uniform = ZeroShotTeacher(places / "nli", CLASSES, prior_correction="uniform")
    with pytest.raises(ValueError, match=r"Call `fit_prior\(texts\)` first"):
        uniform.logits(texts)
    with pytest.raises(ValueError, match="there are 2 different texts for 3 classes"):
        uniform.fit_prior([texts[0], texts[1], texts[0], texts[1]])
    uniform.fit_prior(texts)
    assert uniform.logits(texts) == pytest.approx(plain - uniform_bias(plain), abs=1e-4)
    assert mean_probabilities(uniform.logits(texts)) == pytest.approx([1 / 3] * 3, abs=1e-3)
    estimated = ZeroShotTeacher(places / "nli", CLASSES, prior_correction="estimated")
    without_content = ZeroShotTeacher(places / "nli", CLASSES).logits(CONTENT_FREE_TEXTS)
    assert estimated.logits(texts) == pytest.approx(plain - content_free_bias(without_content), abs=1e-4)


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("method", ["uniform", "estimated"])
@pytest.mark.parametrize("name", ["nli", "encoder"])
def test_the_trainer_corrects_training_and_evaluation_rows_by_one_bias(
    places, texts, unlabelled, tokenizer, tmp_path, name, method, is_stored, caplog
):
    plain = ZeroShotTeacher(places / name, CLASSES)
    teacher = ZeroShotTeacher(places / name, CLASSES, prior_correction=method)
    with visible_to_caplog("hf_distill.training.zero_shot_source"):
        trainer = make_trainer(teacher, unlabelled, tokenizer, tmp_path, cache_teacher_outputs=is_stored)
    bias = (
        uniform_bias(plain.logits(texts))
        if method == "uniform"
        else content_free_bias(plain.logits(CONTENT_FREE_TEXTS))
    )
    assert np.array(trainer.train_dataset["teacher_logits"][:]) == pytest.approx(plain.logits(texts) - bias, abs=1e-3)
    others = trainer.teaching.prepare(unlabelled.select([4, 1]), "evaluation")
    assert np.array(others["teacher_logits"][:]) == pytest.approx(plain.logits([texts[4], texts[1]]) - bias, abs=1e-3)
    description = trainer.distillation_record()["teacher"]["zero_shot"]
    assert (description["prior_correction"], description["bias_texts"]) == (method, 6 if method == "uniform" else 3)
    assert list(description["bias"].values()) == pytest.approx(bias, abs=1e-3)
    (line,) = [record.message for record in caplog.records if "Prior correction" in record.message]
    assert f"Prior correction ({method})" in line


def test_another_prior_correction_reads_the_stored_judgments(places, unlabelled, tokenizer, tmp_path):
    def computed(name, method):
        teacher = ZeroShotTeacher(places / name, CLASSES, prior_correction=method)
        trainer = make_trainer(teacher, unlabelled, tokenizer, tmp_path, cache_teacher_outputs=True)
        return [cache.num_computed for cache in trainer.teaching.caches]

    for name, num_stores in (("nli", 3), ("encoder", 1)):
        computed(name, "none")
        assert computed(name, "uniform") == [0] * num_stores
        assert computed(name, "estimated") == [3] * num_stores  # the texts without content
        assert computed(name, "estimated") == computed(name, "none") == [0] * num_stores


def test_too_few_texts_for_a_uniform_prior_are_refused_before_the_teacher_runs(
    places, unlabelled, tokenizer, tmp_path
):
    teacher = ZeroShotTeacher(places / "nli", CLASSES, prior_correction="uniform")
    with pytest.raises(ValueError, match="there are 2 different texts for 3 classes"):
        make_trainer(teacher, unlabelled.select([0, 1, 0]), tokenizer, tmp_path, cache_teacher_outputs=True)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("name", ["nli", "encoder"])
def test_the_trainer_adds_the_logits_of_a_zero_shot_teacher(
    places, texts, unlabelled, tokenizer, tmp_path, name, is_stored
):
    teacher = ZeroShotTeacher(places / name, CLASSES)
    trainer = make_trainer(teacher, unlabelled, tokenizer, tmp_path, cache_teacher_outputs=is_stored)
    stored = np.array(trainer.train_dataset["teacher_logits"][:])
    assert stored == pytest.approx(teacher.logits(texts), abs=1e-4)
    trainer.train()
    description = trainer.distillation_record()["teacher"]["zero_shot"]
    assert description["hypotheses"]["fun"] == ("This example is fun." if name == "nli" else "fun")
    assert (tmp_path / "cache").exists() == is_stored


def test_another_class_is_one_hypothesis_more_and_nothing_for_an_encoder(places, unlabelled, tokenizer, tmp_path):
    def computed(name, classes):
        trainer = make_trainer(
            ZeroShotTeacher(places / name, classes), unlabelled, tokenizer, tmp_path, classes=classes,
            cache_teacher_outputs=True,
        )  # fmt: skip
        return [cache.num_computed for cache in trainer.teaching.caches]

    distinct = len(set(unlabelled["text"]))
    assert computed("nli", CLASSES) == [distinct] * 3
    assert computed("nli", ["fun", "good", "slow", "bad"]) == [0, 0, distinct, 0]
    assert computed("encoder", CLASSES) == [distinct]
    assert computed("encoder", ["slow", "fast"]) == [0]


def test_classes_are_matched_with_the_student_by_name(places, texts, unlabelled, tokenizer, tmp_path):
    teacher = ZeroShotTeacher(places / "nli", CLASSES)
    trainer = make_trainer(teacher, unlabelled, tokenizer, tmp_path, classes=["fun", "good", "bad"])
    batch = {"teacher_logits": torch.tensor(trainer.train_dataset["teacher_logits"][:])}
    assert trainer.teacher(batch).logits.numpy() == pytest.approx(teacher.logits(texts)[:, [2, 0, 1]], abs=1e-4)


def test_pairs_and_other_kinds_of_problems_are_refused(places, unlabelled, tokenizer, tmp_path):
    teacher = ZeroShotTeacher(places / "nli", CLASSES)
    pairs = unlabelled.add_column("second", unlabelled["text"][:])
    pairs = pairs.map(lambda rows: dict(tokenizer(rows["text"], rows["second"])), batched=True)
    with pytest.raises(ValueError, match="reads one text, and the rows have the pair text and second"):
        make_trainer(teacher, pairs, tokenizer, tmp_path)
    with pytest.raises(ValueError, match="a zero-shot teacher runs in float32"):
        make_trainer(teacher, unlabelled, tokenizer, tmp_path, teacher_dtype="bfloat16")
    several = ZeroShotTeacher(places / "nli", CLASSES, multi_label=True)
    with pytest.raises(ValueError, match="problem type is multi_label_classification"):
        make_trainer(several, unlabelled, tokenizer, tmp_path)


# ---- The command line ----


def run(places, folder, **changes):
    values = {
        "train_file": None, "validation_file": None, "transfer_file": places / "texts.txt", "num_train_epochs": None,
        "max_steps": 2, "save_strategy": "no", "candidate_labels": "good,bad,fun", "student_num_hidden_layers": 1,
        "teacher_model_name_or_path": places / "encoder", "teacher_cache_dir": folder / "cache",
    }  # fmt: skip
    main(["train", *flags(places, folder / "out", **{**values, **changes})])
    return json.loads((folder / "out" / "distillation.json").read_text())


@pytest.mark.parametrize("name", ["nli", "encoder"])
def test_train_makes_a_student_for_classes_that_nobody_labelled(places, tmp_path, capsys, name):
    record = run(
        places, tmp_path, teacher_model_name_or_path=places / name, hypothesis_template="the film is {}",
        cache_teacher_outputs=True, transfer_min_confidence=0.01,
    )  # fmt: skip
    assert record["teacher"]["zero_shot"]["hypotheses"]["bad"] == "the film is bad"
    assert (record["metric_name"], record["dataset"]["unlabelled_rows"]) == ("agreement", 20)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert sorted(config["label2id"]) == sorted(CLASSES)
    assert (config["num_hidden_layers"], record["latency"].keys()) == (1, {"student"})
    assert "Out of domain by the teacher's confidence" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "hypotheses"),
    [
        (
            '{"good": "a warm film", "so, so": "a dull film"}',
            {"good": "about a warm film", "so, so": "about a dull film"},
        ),
        ('["good", "so, so"]', {"good": "about good", "so, so": "about so, so"}),
    ],
)
def test_names_and_descriptions_of_classes_can_be_json(places, tmp_path, capsys, given, hypotheses):
    record = run(places, tmp_path, candidate_labels=given, hypothesis_template="about {}")
    assert record["teacher"]["zero_shot"]["hypotheses"] == hypotheses
    assert f"The teacher compares texts with: {', '.join(map(repr, hypotheses.values()))}." in capsys.readouterr().out


def test_train_keeps_the_bias_of_all_texts_when_it_drops_unsure_ones(places, tmp_path, caplog):
    with visible_to_caplog("hf_distill.training.zero_shot_source"):
        record = run(
            places, tmp_path, prior_correction="uniform", cache_teacher_outputs=True, transfer_min_confidence=0.345
        )
    zero_shot, transfer = record["teacher"]["zero_shot"], record["dataset"]["transfer"]
    assert transfer["below_min_confidence"] > 0
    assert zero_shot["bias_texts"] == transfer["rows"] + transfer["below_min_confidence"]
    assert sum("Prior correction (uniform)" in record.message for record in caplog.records) == 1


def test_a_pretrained_student_learns_from_a_zero_shot_teacher(places, tmp_path):
    record = run(
        places, tmp_path, student_num_hidden_layers=None, student_model_name_or_path=places / "student",
        problem_type="multi_label_classification", teacher_model_name_or_path=places / "nli",
    )  # fmt: skip
    assert record["problem_type"] == "multi_label_classification"
    assert record["teacher"]["zero_shot"]["multi_label"] is True


def test_gold_rows_score_teacher_and_student_by_the_names_of_the_classes(places, tmp_path, capsys):
    names = dict(zip(LABEL_NAMES, ["bad", "fun", "good"], strict=True))
    with (tmp_path / "gold.csv").open("w", newline="") as file:
        rows = [(row["text"], names[LABEL_NAMES[row["label"]]]) for row in tiny_rows(30, 1)]
        csv.writer(file).writerows([("text", "label"), *rows])
    record = run(places, tmp_path, validation_file=tmp_path / "gold.csv")
    teacher = ZeroShotTeacher(places / "encoder", CLASSES)
    answers = teacher.logits([text for text, _ in rows]).argmax(axis=1)
    accuracy = np.mean([CLASSES[answer] == label for answer, (_, label) in zip(answers, rows, strict=True)])
    assert record["metrics"]["teacher"]["accuracy"] == pytest.approx(accuracy)
    assert "On 30 rows the accuracy is only roughly known, with 95 % intervals of" in capsys.readouterr().out
    assert record["dataset"]["unlabelled_rows"] == 40


def test_gold_rows_of_one_class_belong_to_the_candidate_labels(places, tmp_path, capsys, caplog):
    gold = tmp_path / "gold.csv"
    gold.write_text("text,label\n" + "".join(f"{row['text']},Good\n" for row in tiny_rows(10, 1)))
    record = run(places, tmp_path, validation_file=gold)
    assert "all labelled rows are of the class 'Good'; the teacher has 3" in caplog.text
    answers = ZeroShotTeacher(places / "encoder", CLASSES).logits([row["text"] for row in tiny_rows(10, 1)])
    share = np.mean(answers.argmax(axis=1) == CLASSES.index("good"))
    assert record["metrics"]["teacher"]["accuracy"] == pytest.approx(share)
    gold.write_text(gold.read_text().replace("Good", "2"))
    with pytest.raises(SystemExit, match="2"):
        run(places, tmp_path / "ids", validation_file=gold)
    assert "name all of them, in the order of the teacher's outputs: --class_names" in capsys.readouterr().err


def test_intervals_count_only_the_rows_with_a_label(places, tmp_path, capsys):
    rows = [row["text"] for row in tiny_rows(30, 1)]
    labels = [["bad", "fun", "good"][i % 3] if i < 12 else "" for i in range(30)]
    lines = [f"{text},{label}" for text, label in zip(rows, labels, strict=True)]
    (tmp_path / "gold.csv").write_text("\n".join(["text,label", *lines]))
    record = run(places, tmp_path, validation_file=tmp_path / "gold.csv")
    said = capsys.readouterr().out
    assert "On 12 rows the accuracy is only roughly known" in said
    assert "The teacher compares texts with: 'good', 'bad', 'fun'.\n" in said
    assert "None" not in said
    assert record["dataset"]["eval_rows"] == 12
    low, high = wilson_interval(record["metrics"]["student"]["accuracy"], 12)
    assert f"{100 * low:.1f} to {100 * high:.1f} % (student)" in said


def write_gold(path, texts, labels):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, labels, strict=True)])
    return path


def test_gold_rows_that_the_student_trains_on_are_counted(places, tmp_path, caplog):
    trained = (places / "texts.txt").read_text().splitlines()
    others = [row["text"] for row in tiny_rows(6, 1)]
    labels = ["good", "bad", "fun"] * 2
    with visible_to_caplog("hf_distill.cli.printing"):
        run(places, tmp_path, validation_file=write_gold(tmp_path / "gold.csv", trained[:6], labels))
    assert "6 of the 6 validation texts are in the unlabelled text, so the student learns" in caplog.text
    caplog.clear()
    few = write_gold(tmp_path / "few.csv", [*trained[:1], *others[:5]], labels)
    with visible_to_caplog("hf_distill.cli.printing"):
        run(places, tmp_path, validation_file=few, overwrite_output_dir=True)
    assert "1 of the 6 validation texts is in the unlabelled text; --transfer_deduplicate drops" in caplog.text
    assert "too good" not in caplog.text
    caplog.clear()
    with visible_to_caplog("hf_distill.cli.printing"):
        record = run(places, tmp_path, validation_file=few, overwrite_output_dir=True, transfer_deduplicate=True)
    assert "in the unlabelled text" not in caplog.text
    assert record["dataset"]["transfer"]["near_duplicates_of"]["validation"] >= 1


def test_a_zero_shot_teacher_that_knows_nothing_is_named_before_training(places, tmp_path, caplog):
    texts = [row["text"] for row in tiny_rows(40, 1)]
    answers = ZeroShotTeacher(places / "encoder", CLASSES).logits(texts).argmax(axis=1)
    right = [CLASSES[answer] for answer in answers]
    frequent = max(set(right), key=right.count)
    wrong = [next(name for name in CLASSES if name not in (label, frequent)) for label in right]
    for labels, is_weak in ((right, len(set(right)) == 1), (wrong, True)):
        caplog.clear()
        with visible_to_caplog("hf_distill.pipeline.training"):
            record = run(
                places, tmp_path, validation_file=write_gold(tmp_path / "gold.csv", texts, labels),
                overwrite_output_dir=True,
            )  # fmt: skip
        check = record["teacher_check"]["zero_shot"]
        assert check["rows"] == 40
        assert (
            ("THE TEACHER MAY KNOW NOTHING OF THESE CLASSES: on 40 labelled rows, " in caplog.text)
            == is_weak
            == (check["reason"] is not None)
        )


def test_the_card_names_the_unlabelled_text_and_what_the_teacher_compared(places, tmp_path):
    labels = ["good", "bad", "fun"] * 2
    gold = write_gold(tmp_path / "gold.csv", [row["text"] for row in tiny_rows(6, 1)], labels)
    run(places, tmp_path, validation_file=gold, hypothesis_template="a {} film", prior_correction="estimated")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "a zero-shot teacher), on unlabelled text from texts.txt." in card
    assert "similar to the texts in unlabelled text from texts.txt" not in card
    assert "for texts similar to the unlabelled text from texts.txt." in card
    assert "It compared each text with: good (a good film), bad (a bad film), fun (a fun film)." in card
    assert "(prior correction estimated): good " in card
    assert "Evaluated on gold.csv, 6 rows." in card


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidate_labels": "good,good"}, "Candidate labels repeat"),
        ({"candidate_labels": '["good", 7]'}, "a name or a description is no text. Expected a list of names, or the"),
        ({"candidate_labels": '["good", "bad"'}, "cannot be read as JSON: Expecting ',' delimiter"),
        ({"candidate_labels": '{"good": "a", "good": "b"}'}, "the name 'good' is there twice"),
        ({"candidate_labels": '{"caf\u00e9": "a", "cafe\u0301": "b"}'}, "the name 'caf\u00e9' is there twice"),
        ({"candidate_labels": '{"good": "a", "Good": "b"}'}, "Candidate labels repeat: good"),
        ({"candidate_labels": "'good','bad'"}, "takes names with commas between them"),
        ({"candidate_labels": '{"good": "a good film"}'}, "One class, 'good', leaves nothing to decide"),
        ({"hypothesis_template": "no place"}, "must contain `{}` once"),
        ({"candidate_labels": None, "hypothesis_template": "a {}"}, "--hypothesis_template needs --candidate_labels"),
        ({"candidate_labels": None, "prior_correction": "uniform"}, "so it needs --candidate_labels"),
        ({"prior_correction": "flat"}, "invalid choice: 'flat'"),
        (
            {
                "problem_type": "multi_label_classification",
                "prior_correction": "uniform",
                "teacher_model_name_or_path": "nli",
            },
            "it is for texts of exactly one class",
        ),
        ({"transfer_file": None}, "--candidate_labels needs unlabelled text"),
        ({"train_file": "rows.csv"}, "so leave out --train_file"),
        ({"fine_tune_teacher": True}, "--fine_tune_teacher is for a teacher that was fine-tuned"),
        ({"baseline": True}, "--baseline is for a teacher that was fine-tuned"),
        ({"augment": 2}, "--augment is for a teacher that was fine-tuned"),
        ({"problem_type": "regression"}, "--problem_type is regression"),
        ({"validation_file": "gold"}, "2 of the 2 labels of the rows are no candidate labels: fear, joy. The cand"),
    ],
)
def test_flags_that_do_not_fit_are_refused_before_the_teacher_runs(places, tmp_path, capsys, changes, message):
    if changes.get("validation_file"):
        (tmp_path / "gold.csv").write_text("text,label\na film,joy\nbad plot,fear\n")
        changes = {"validation_file": tmp_path / "gold.csv"}
    if "teacher_model_name_or_path" in changes:
        changes = {**changes, "teacher_model_name_or_path": places / changes["teacher_model_name_or_path"]}
    with pytest.raises(SystemExit) as stopped:
        run(places, tmp_path, **changes)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
