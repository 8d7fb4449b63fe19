"""Soft labels that a dataset carries become the teacher's logits, in the student's order of the classes."""

import math

import datasets
import numpy as np
import pytest
from datasets import Dataset
from invariance import make_args
from tiny import LABEL_NAMES, visible_to_caplog

from hf_distill import DistillationTrainer
from hf_distill.data import load_text_dataset, soft_labels


def logits_of(rows, names=("a", "b"), **settings):
    dataset = soft_labels(Dataset.from_dict({"soft": rows, "id": list(range(len(rows)))}), "soft", names, **settings)
    assert dataset.column_names == ["id", "teacher_logits"]
    assert dataset.features["teacher_logits"] == datasets.List(datasets.Value("float32"), length=len(names))
    return np.array(dataset["teacher_logits"][:])


def test_probabilities_become_their_logarithms_and_zero_the_floor():
    expected = np.log([[0.25, 0.75], [1.0, 0.001]])
    assert np.allclose(logits_of([[0.25, 0.75], [1.0, 0.0]], floor=0.001), expected)


def test_dicts_are_aligned_by_name_whatever_their_case_and_order():
    rows = [{"B": 0.75, "A": 0.25}, {"A": 1.0}]
    assert np.allclose(logits_of(rows), np.log([[0.25, 0.75], [1.0, 1e-4]]))


def test_lists_are_aligned_by_the_names_of_their_order():
    assert np.allclose(logits_of([[0.25, 0.75]], source_names=["B", "a"]), np.log([[0.75, 0.25]]))


def test_logits_stay_as_they_are():
    assert np.allclose(logits_of([[-3.0, 7.0]], kind="logits"), [[-3.0, 7.0]])
    assert np.allclose(logits_of([{"b": 7.0, "a": -3.0}], kind="logits"), [[-3.0, 7.0]])


def test_multi_label_probabilities_become_log_odds_and_need_no_sum():
    expected = [[math.log(0.9 / 0.1), math.log(0.01 / 0.99)]]
    assert np.allclose(logits_of([[0.9, 0.0]], is_multi_label=True, floor=0.01), expected)


@pytest.mark.parametrize(
    ("row", "settings", "message"),
    [
        ([0.5, 0.6], {}, r"row 1 sums to 1.1, not to 1: \[0.5, 0.6\]"),
        ([-0.1, 1.1], {}, "row 1 has numbers that are not probabilities"),
        ([1.0], {}, "row 1 does not have 2 numbers"),
        ([float("nan"), 1.0], {"kind": "logits"}, "row 1 has NaN"),
        ([70, 30], {}, "divide percentages by 100"),
    ],
)
def test_a_row_that_is_no_distribution_is_refused_with_its_number(row, settings, message):
    with pytest.raises(ValueError, match=message):
        logits_of([[0.5, 0.5], row], **settings)


def test_classes_that_are_not_known_or_not_there_are_refused():
    with pytest.raises(ValueError, match=r"row 0 has the classes \['c'\]"):
        logits_of([{"a": 0.5, "c": 0.5}])
    with pytest.raises(ValueError, match=r"row 0 lacks logits of \['b'\]"):
        logits_of([{"a": 0.5}], kind="logits")
    with pytest.raises(ValueError, match="label names differ"):
        logits_of([[0.5, 0.5]], source_names=["a", "c"])
    with pytest.raises(ValueError, match="names 'good' and 'Good' differ only in upper and lower case"):
        logits_of([[0.5, 0.5]], names=("good", "Good"))


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        ("[0.7, 0.3]", "probabilities", "row 0 is a text; read JSON before"),
        (["0.7", "0.3"], "logits", "row 0 does not have 2 numbers"),
        ([None, 0.3], "probabilities", "row 0 does not have 2 numbers"),
        ({"a": "70%", "b": "30%"}, "probabilities", "has the text '70%' in place of a number"),
        ({"A": 9.0, "a": -9.0, "b": 0.0}, "logits", "has names that differ only in case or blanks"),
        (
            [{"token": "a", "logprob": -0.3, "top_logprobs": [{"token": "a", "logprob": -0.3}]}],
            "log_probabilities",
            "one after the other. Pass the alternatives of its first token, its `top_logprobs`",
        ),
        ([{"token": "a"}], "log_probabilities", "has an entry without `token` and `logprob`"),
        ([{"id": 7, "logprob": -0.1}], "log_probabilities", "has an entry without `token` and `logprob`"),
        ([{"token": "a", "logprob": "-0.1"}], "log_probabilities", "has '-0.1' in place of a log-probability"),
        ({"a": {"logprob": -0.1}}, "log_probabilities", "in place of a log-probability"),
        ([[-0.1], [-0.2]], "log_probabilities", "in place of a log-probability"),
        ([None, {"token": "a", "logprob": -0.3}], "log_probabilities", "an entry that is no token"),
        # Tokens that follow one another, as some APIs list them.
        ([{"text": " a", "logprob": -0.9}, {"text": "</s>", "logprob": -0.01}], "log_probabilities", "add up to 1.40"),
        ({"The": -0.1, "a": -0.5}, "log_probabilities", "add up to 1.51, so they are no alternatives"),
        ([{"token": "a", "logprob": -3.0}] * 2, "log_probabilities", "has the token 'a' twice, so its tokens follow"),
        ([{"token": "a", "logprob": -0.3}], "probabilities", "a dict has numbers by class"),
        ({"a": 0.67, "b": 0.33}, "votes", "are not 0, 1, 2, ...; for shares set `kind='probabilities'`"),
    ],
)
def test_answers_in_another_form_are_refused_with_what_to_do(row, kind, message):
    with pytest.raises(ValueError, match=message):
        logits_of([row], kind=kind)


def test_blanks_around_the_name_of_a_class_do_not_count():
    assert np.allclose(probabilities_of([{" a": 0.75, "B ": 0.25}]), [[0.75, 0.25]])


@pytest.mark.parametrize("settings", [{"floor": 0.0}, {"kind": "odds"}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="must be"):
        logits_of([[0.5, 0.5]], **settings)


def test_a_student_trains_on_what_a_language_model_said(student, dataset, tokenizer, tmp_path):
    answers = [{name.upper(): 0.8 if i % 3 == j else 0.1 for j, name in enumerate(LABEL_NAMES)} for i in range(32)]
    rows = soft_labels(dataset.add_column("answer", answers), "answer", LABEL_NAMES)
    trainer = DistillationTrainer(
        student, None, make_args(tmp_path, objectives={"kl": {"temperature": 1.0}}, temperature=None,
                                 soft_label_weight=None, hard_label_weight=None),
        train_dataset=rows, eval_dataset=rows, processing_class=tokenizer,
    )  # fmt: skip
    probabilities = np.array([[0.8 if i % 3 == j else 0.1 for j in range(3)] for i in range(32)])
    logits = trainer.predict(rows).predictions
    log_q = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = (probabilities * (np.log(probabilities) - log_q)).sum(-1).mean()
    assert trainer.evaluate()["eval_loss_kl"] == pytest.approx(expected, rel=1e-4)


def probabilities_of(rows, names=("a", "b"), **settings):
    return np.exp(logits_of(rows, names, **settings))


def test_the_probability_of_other_tokens_is_shared_out_and_spellings_of_a_class_are_added():
    log = math.log
    rows = [
        {" a": log(0.3), "A": log(0.1), "b": log(0.1), "The": log(0.2)},  # 0.4 and 0.1 of 0.5
        {"b": log(0.5), "The": log(0.2)},  # "a" is not among the most probable tokens
    ]
    assert np.allclose(probabilities_of(rows, kind="log_probabilities"), [[0.8, 0.2], [1e-4, 1.0]])
    for key in ("token", "text"):  # the names of two APIs
        listed = [[{key: token, "logprob": value, "bytes": None} for token, value in row.items()] for row in rows]
        assert np.allclose(probabilities_of(listed, kind="log_probabilities"), [[0.8, 0.2], [1e-4, 1.0]])
    lists = [[log(0.2), log(0.6)]]
    assert np.allclose(probabilities_of(lists, kind="log_probabilities"), [[0.25, 0.75]])
    assert np.allclose(probabilities_of(lists, kind="log_probabilities", source_names=["b", "a"]), [[0.75, 0.25]])


def test_a_class_that_no_token_names_is_warned_about(caplog):
    with visible_to_caplog("hf_distill.data.soft_labels"):
        logits_of([{"a": -0.1, "b.": -3.0}] * 2, kind="log_probabilities")
    assert "No row has a token for 'b', so every row gives it the lowest probability" in caplog.text
    caplog.clear()
    with visible_to_caplog("hf_distill.data.soft_labels"):
        logits_of([{"a": -0.1, "b.": -3.0}, {" B": -0.1}], kind="log_probabilities")
    assert not caplog.text


def test_blanks_around_a_class_name_do_not_matter():
    expected = [[math.exp(-0.3), math.exp(-1.5)]] / (np.exp(-0.3) + np.exp(-1.5))
    assert np.allclose(probabilities_of([{"a": -0.3, "b": -1.5}], (" a ", "b"), kind="log_probabilities"), expected)
    with pytest.raises(ValueError, match="differ only in upper and lower case, or in blanks"):
        logits_of([[0.5, 0.5]], names=("a", " A"))


def test_log_probabilities_of_several_labels_stay_as_they_are():
    logits = logits_of([{"a": math.log(0.9), "b": math.log(0.4)}], kind="log_probabilities", is_multi_label=True)
    assert np.allclose(logits, [[math.log(9), math.log(0.4 / 0.6)]])


def test_votes_are_smoothed_by_laplaces_rule():
    assert np.allclose(probabilities_of([["a", "A ", "a"]], kind="votes"), [[0.8, 0.2]])  # (3 + 1) / (3 + 2)
    assert np.allclose(probabilities_of([{"a": 2, "b": 1}], kind="votes"), [[0.6, 0.4]])
    assert np.allclose(probabilities_of([["b"]], ("a", "b", "c"), kind="votes"), [[0.25, 0.5, 0.25]])
    assert np.allclose(probabilities_of([["a", "b"]], kind="votes", smoothing=0.0), [[0.5, 0.5]])
    logits = logits_of([[["a"], ["a", "b"], []]], kind="votes", is_multi_label=True)  # 3 / 5 and 2 / 5
    assert np.allclose(logits, [[math.log(1.5), -math.log(1.5)]])


def test_each_class_can_have_its_own_column():
    dataset = Dataset.from_dict({"p_b": [0.75, 0.5], "p_a": [0.25, 0.5], "text": ["x", "y"]})
    labelled = soft_labels(dataset, {"B": "p_b", "A": "p_a"}, ["a", "b"])
    assert labelled.column_names == ["text", "teacher_logits"]
    assert np.allclose(np.exp(labelled["teacher_logits"][:]), [[0.25, 0.75], [0.5, 0.5]])
    with pytest.raises(ValueError, match="The label names differ"):
        soft_labels(dataset, {"b": "p_b"}, ["a", "b"])
    with pytest.raises(TypeError, match="`column` must be the name of a column, or a dict"):
        soft_labels(dataset, ["p_b", "p_a"], ["a", "b"])
    with pytest.raises(ValueError, match="There is no column 'p_c'"):
        soft_labels(dataset, {"a": "p_a", "b": "p_c"}, ["a", "b"])
    with pytest.raises(ValueError, match="Votes are in one column"):
        soft_labels(dataset, {"a": "p_a", "b": "p_b"}, ["a", "b"], kind="votes")


def test_answers_in_json_lines_are_read_by_datasets(tmp_path):
    lines = ['{"text": "x", "answer": {"a": -0.1, "The": -3.0}}', '{"text": "y", "answer": {"b": -0.7, "a": -0.7}}']
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    rows = datasets.load_dataset(
        "json", data_files=str(tmp_path / "answers.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    labelled = soft_labels(rows, "answer", ["a", "b"], kind="log_probabilities")
    assert np.allclose(np.exp(labelled["teacher_logits"][:]), [[1.0, 1e-4], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("row", "settings", "message"),
    [
        ({"The": -0.1}, {"kind": "log_probabilities"}, "row 0 has no token among the classes"),
        ({"a": 0.7, "b": -1.0}, {"kind": "log_probabilities"}, "row 0 has numbers that are not log-probabilities"),
        ([-1.0], {"kind": "log_probabilities"}, "row 0 does not have 2 numbers"),
        ([float("nan"), -1.0], {"kind": "log_probabilities"}, "row 0 has numbers that are not log-probabilities"),
        ([-math.inf, -math.inf], {"kind": "log_probabilities"}, "row 0 gives no class a probability"),
        (["a", "c"], {"kind": "votes"}, "row 0 has the class 'c', which is not among"),
        ([], {"kind": "votes"}, "row 0 has no votes"),
        ("a", {"kind": "votes"}, "row 0 is not a list of classes"),
        (["a"], {"kind": "votes", "is_multi_label": True}, "row 0 is not a list of lists of classes"),
        ({"a": -1, "b": 3}, {"kind": "votes"}, "row 0 has numbers of votes that are not 0, 1, 2"),
        ({"a": 1, "b": 3}, {"kind": "votes", "is_multi_label": True}, "row 0 is a dict of counts"),
        (["a"], {"kind": "votes", "smoothing": -1.0}, "`smoothing` must be"),
    ],
)
def test_answers_that_are_none_are_refused_with_their_row(row, settings, message):
    with pytest.raises(ValueError, match=message):
        logits_of([row], **settings)


def test_the_logits_of_a_teacher_are_not_taken_for_labels(tmp_path):
    rows = {"text": ["x", "y"] * 5, "teacher_logits": [[0.5, 0.5]] * 10}
    path = tmp_path / "rows.jsonl"
    Dataset.from_dict(rows).to_json(path)
    with pytest.raises(ValueError, match="has no column `label` or `labels`.* To train on the logits alone, pass"):
        load_text_dataset(train_file=path, validation_file=path)
    with pytest.raises(ValueError, match="has the outputs of a teacher, not labels"):
        load_text_dataset(train_file=path, validation_file=path, label_column_name="teacher_logits")


def answered(folder, **settings):
    """The folder of six texts with the answers of a language model, and of nothing else."""
    votes = [["a", "a", "b"], ["b", "b", "b"]] * 3
    if settings.get("is_multi_label"):
        votes = [[[vote] for vote in row] for row in votes]
    rows = Dataset.from_dict({"text": [f"text {i}" for i in range(6)], "answers": votes})
    soft_labels(rows, "answers", ["b", "a"], kind="votes", **settings).save_to_disk(folder)
    return folder


@pytest.mark.parametrize(
    ("problem_type", "no_label"), [("single_label_classification", -1), ("multi_label_classification", [None, None])]
)
def test_answers_without_a_label_column_are_unlabelled_rows_of_their_classes(tmp_path, problem_type, no_label):
    folder = answered(tmp_path / "soft", is_multi_label=problem_type.startswith("multi"))
    task = load_text_dataset(dataset_name=str(folder), problem_type=problem_type, needs_validation=False)
    assert (task.label_names, task.problem_type) == (["b", "a"], problem_type)
    labels = np.array(task.datasets["train"]["label"][:], dtype=float)
    assert np.isnan(labels).all() if problem_type.startswith("multi") else (labels == no_label).all()
    assert "soft/train has no labels: its rows are unlabelled, with `teacher_logits`" in task.summary.notes
    assert "label (none in the data)" in str(task.summary)


def test_answers_are_evaluated_on_labelled_rows_of_another_file(tmp_path):
    folder, gold = answered(tmp_path / "soft"), tmp_path / "gold.csv"
    gold.write_text("text,label\nx,a\ny,b\n")
    task = load_text_dataset(
        dataset_name=str(folder), validation_file=gold, problem_type="single_label_classification"
    )
    assert task.label_names == ["b", "a"]
    assert task.datasets["validation"]["label"][:] == [1, 0]
    assert (task.summary["train"].labelled_rows, task.summary["validation"].labelled_rows) == (0, 2)
    gold.write_text("text,label\nx,a\ny,c\n")
    with pytest.raises(ValueError, match=r"the labels \['c'\] are not among the classes"):
        load_text_dataset(dataset_name=str(folder), validation_file=gold, problem_type="single_label_classification")


def test_logits_whose_classes_are_not_known_need_their_names(tmp_path):
    folder, path = answered(tmp_path / "soft"), tmp_path / "rows.parquet"
    datasets.load_from_disk(str(folder)).add_column("sentiment", ["x", "y"] * 3).to_parquet(path)
    named = {"problem_type": "single_label_classification", "needs_validation": False}
    with pytest.raises(ValueError, match="does not say which class each number belongs to. Name the classes"):
        load_text_dataset(train_file=path, **named)
    task = load_text_dataset(train_file=path, class_names=["b", "a"], **named)
    assert task.label_names == ["b", "a"]
    assert any("if 'sentiment' is the label" in note for note in task.summary.notes)


SINGLE = {"problem_type": "single_label_classification", "needs_validation": False}


@pytest.mark.parametrize("name", ["labels", "sentiment"])
def test_the_rows_to_evaluate_on_name_the_label_column(tmp_path, name):
    folder, gold = answered(tmp_path / "soft"), tmp_path / "gold.csv"
    gold.write_text(f"text,{name}\nx,a\ny,b\n")
    flag = None if name == "labels" else name
    task = load_text_dataset(dataset_name=str(folder), validation_file=gold, label_column_name=flag, **SINGLE)
    assert task.datasets["validation"]["label"][:] == [1, 0]
    assert task.summary["train"].labelled_rows == 0


def test_a_label_column_without_any_label_is_none(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = datasets.load_from_disk(str(answered(tmp_path / "soft")))
    rows.add_column("label", [None] * 6).add_column("tags", ["x"] * 6).to_parquet(path)
    task = load_text_dataset(train_file=path, class_names=["b", "a"], **SINGLE)
    assert (task.label_names, task.summary["train"].labelled_rows) == (["b", "a"], 0)


def test_names_and_problem_types_that_contradict_the_logits_are_refused(tmp_path):
    folder = str(answered(tmp_path / "soft"))
    for names in (["a", "b"], ["x", "y"], ["b", "a", "c"]):
        with pytest.raises(ValueError, match="are in the order b, a. Leave out --class_names"):
            load_text_dataset(dataset_name=folder, class_names=names, **SINGLE)
    with pytest.raises(ValueError, match="has the classes b, a, and --problem_type"):
        load_text_dataset(dataset_name=folder, problem_type="regression", needs_validation=False)
    with pytest.raises(ValueError, match="holds out labelled rows, and no row of train has a label. Leave it out"):
        load_text_dataset(dataset_name=folder, validation_split_percentage=20, **SINGLE)


@pytest.mark.parametrize("logits", [{"a": 0.5, "b": 0.5}, 0.5, "[0.5, 0.5]"])
def test_logits_that_are_no_lists_are_refused_with_what_makes_lists(tmp_path, logits):
    path = tmp_path / "rows.jsonl"
    Dataset.from_dict({"text": ["x", "y"], "teacher_logits": [logits] * 2}).to_json(path)
    with pytest.raises(ValueError, match="must have a list of numbers in each row.* `hf_distill.data.soft_labels`"):
        load_text_dataset(train_file=path, class_names=["a", "b"], **SINGLE)


def test_only_the_file_without_labels_is_called_unlabelled(tmp_path):
    folder, path = answered(tmp_path / "soft"), tmp_path / "soft.parquet"
    rows = datasets.load_from_disk(str(folder))
    rows.to_parquet(path)
    labelled = tmp_path / "labelled.parquet"
    rows.add_column("label", ["a", "b"] * 3).to_parquet(labelled)
    task = load_text_dataset(train_file=[str(labelled), str(path)], class_names=["b", "a"], **SINGLE)
    assert task.summary.notes == ["soft.parquet has no labels: its rows are unlabelled, with `teacher_logits`"]
    assert task.summary["train"].labelled_rows == 6
