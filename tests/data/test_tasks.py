"""GLUE tasks and other datasets: every layout that is read, and every refusal."""

import json
import math

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from tiny import named_model, tiny_tokenizer
from transformers import EvalPrediction

from hf_distill.data import GLUE_TASKS, load_task, load_text_dataset, load_transfer_text
from hf_distill.data.glue import _read_hub
from hf_distill.data.metrics import default_metrics

BOM = "\ufeff"
MNLI_HEADER = (
    "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse"
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write(path, *rows, end="\n"):
    """Rows of cells, joined by tabs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(row) for row in rows) + end, encoding="utf-8", newline="")
    return path


def test_a_header_free_file_without_a_final_newline_is_read_whole(tmp_path):
    write(tmp_path / "CoLA/train.tsv", ["gj04", "1", "", "They sailed."], ["gj04", "0", "*", "Sailed they."], end="")
    write(tmp_path / "CoLA/test.tsv", ["index", "sentence"], ["0", "Bill whistled."])
    task = load_task("cola", tmp_path)
    assert task.datasets["train"].to_dict() == {"sentence": ["They sailed.", "Sailed they."], "label": [1, 0]}
    assert task.datasets["test"].to_dict() == {"sentence": ["Bill whistled."], "label": [-1]}
    assert task.datasets["train"].features["label"].names == ["unacceptable", "acceptable"]
    assert task.metric_name == "matthews_correlation"
    assert task.validation_splits == ()


def test_byte_order_mark_and_unbalanced_quotes_change_no_row(tmp_path):
    header = [BOM + "Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
    rows = [["1", "7", "8", '" He said so .', "So he said ."], ["0", "9", "5", "It is", 'a " quote\u2028inside\r']]
    write(tmp_path / "MRPC/train.tsv", header, *rows)
    assert load_task("mrpc", tmp_path).datasets["train"].to_dict() == {
        "sentence1": ['" He said so .', "It is"],
        "sentence2": ["So he said .", 'a " quote\u2028inside'],
        "label": [1, 0],
    }


def test_scores_of_stsb_are_floats_and_nan_where_unknown(tmp_path):
    header = "index genre filename year old_index source1 source2 sentence1 sentence2".split()
    row = ["0", "main", "MSRvid", "2012", "1", "none", "none", "A plane.", "An air plane."]
    write(tmp_path / "STS-B/dev.tsv", [*header, "score"], [*row, "4.500"])
    write(tmp_path / "STS-B/test.tsv", header, row)
    task = load_task("stsb", tmp_path)
    assert task.datasets["validation"][0] == {"sentence1": "A plane.", "sentence2": "An air plane.", "label": 4.5}
    assert np.isnan(task.datasets["test"]["label"][0])
    assert (task.problem_type, task.label_names, task.metric_name) == ("regression", None, "pearson")


def test_mnli_has_two_validation_splits_and_reads_the_gold_label_of_each_layout(tmp_path):
    header, cells = MNLI_HEADER.split(), ["0", "1", "1n", "fiction", "( a )", "( b )", "(ROOT a)", "(ROOT b)"]
    texts, votes = ["sentence1", "sentence2"], [f"label{i}" for i in range(1, 6)]
    write(
        tmp_path / "MNLI/train.tsv", header + texts + ["label1", "gold_label"], [*cells, "A.", "B.", *["neutral"] * 2]
    )
    for kind, gold in (("matched", "contradiction"), ("mismatched", "entailment")):
        dev = [*cells, "P.", "H.", *["neutral"] * 5, gold]
        write(tmp_path / f"MNLI/dev_{kind}.tsv", header + texts + votes + ["gold_label"], dev)
        write(tmp_path / f"MNLI/test_{kind}.tsv", header + texts, [*cells, "P.", "H."])
    task = load_task("mnli", tmp_path)
    assert task.validation_splits == ("validation_matched", "validation_mismatched")
    assert [task.datasets[split]["label"][0] for split in task.datasets] == [1, 2, 0, -1, -1]
    assert task.datasets["train"][0] == {"premise": "A.", "hypothesis": "B.", "label": 1}


def test_qqp_reads_its_two_layouts(tmp_path):
    header = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
    write(tmp_path / "QQP/train.tsv", header, ["3", "4", "5", "Why?", "How come?", "1"])
    write(tmp_path / "QQP/test.tsv", ["id", "question1", "question2"], ["0", "Who?", "Whom?"])
    task = load_task("qqp", tmp_path)
    assert task.datasets["train"][0] == {"question1": "Why?", "question2": "How come?", "label": 1}
    assert task.datasets["test"][0] == {"question1": "Who?", "question2": "Whom?", "label": -1}
    assert task.metric_name == "f1"


@pytest.mark.parametrize("folder", ["diagnostic", "AX"])
def test_the_diagnostic_set_is_an_unlabelled_test_split(tmp_path, folder):
    write(tmp_path / folder / "diagnostic.tsv", ["index", "sentence1", "sentence2"], ["0", "A cat.", "No cat."])
    task = load_task("ax", tmp_path)
    assert task.validation_splits == ()
    assert task.datasets["test"][0] == {"premise": "A cat.", "hypothesis": "No cat.", "label": -1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["fine film", "2"], "train.tsv, line 3: the label is '2'; one of 0, 1"),
        (["fine film"], "train.tsv, line 3: 1 columns .* but 2 were expected"),
        (["fine", "film", "1"], "train.tsv, line 3: 3 columns"),
        ([""], "train.tsv, line 3: 1 columns"),
    ],
)
def test_a_malformed_row_is_named_and_never_skipped(tmp_path, row, message):
    write(tmp_path / "SST-2/train.tsv", ["sentence", "label"], ["good", "1"], row)
    with pytest.raises(ValueError, match=message):
        load_task("sst2", tmp_path)


@pytest.mark.parametrize("score", ["5.1", "-0.1", "nan", "high"])
def test_a_score_out_of_range_is_refused(tmp_path, score):
    write(tmp_path / "STS-B/train.tsv", ["sentence1", "sentence2", "score"], ["a", "b", score])
    with pytest.raises(ValueError, match=f"line 2: the score is '{score}'; a number from 0 to 5"):
        load_task("stsb", tmp_path)


def test_wrong_names_folders_and_headers_are_explained(tmp_path):
    with pytest.raises(ValueError, match="'SST-2'. Known are: cola, sst2"):
        load_task("SST-2")
    with pytest.raises(FileNotFoundError, match=r"train.tsv or dev.tsv or test.tsv in .*RTE"):
        load_task("rte", tmp_path)
    write(tmp_path / "RTE/train.tsv", ["index", "sentence1", "label"], ["0", "a", "entailment"])
    with pytest.raises(ValueError, match=r"train.tsv, line 1: .* lacks \['sentence2'\]"):
        load_task("rte", tmp_path)
    for text in ("", "index\tsentence1\tsentence2\tlabel\n"):
        (tmp_path / "RTE/train.tsv").write_text(text)
        with pytest.raises(ValueError, match=r"train.tsv"):
            load_task("rte", tmp_path)


@pytest.mark.parametrize("name", ["sst2", "stsb"])
def test_the_hub_layout_gives_the_same_columns_as_the_original_files(tmp_path, name):
    texts = {column: ["a film", "the plot"] for column in GLUE_TASKS[name].text_columns}
    features = Features({**GLUE_TASKS[name].features, "idx": Value("int32")})
    repo = tmp_path / "glue"
    (repo / name).mkdir(parents=True)
    for split, labels in (("train", [0, 1]), ("test", [-1, -1])):
        rows = Dataset.from_dict({**texts, "label": labels, "idx": [0, 1]}, features=features)
        rows.to_parquet(repo / name / f"{split}-00000-of-00001.parquet")
    files = "".join(f"  - split: {split}\n    path: {name}/{split}-*\n" for split in ("train", "test"))
    (repo / "README.md").write_text(f"---\nconfigs:\n- config_name: {name}\n  data_files:\n{files}---\n")
    splits = _read_hub(name, str(repo))
    assert splits["train"].features == GLUE_TASKS[name].features
    assert splits["train"]["label"][:] == [0, 1]
    unlabelled = np.array(splits["test"]["label"][:], dtype=np.float32)
    assert np.isnan(unlabelled).all() if name == "stsb" else (unlabelled == -1).all()


# --- From text to the columns that a model reads


def small_task(tmp_path, names=("negative", "positive")):
    rows = [["text", "label"], ["good film", names[1]], ["bad film", names[0]], ["the plot", ""]]
    return load_text_dataset(
        train_file=write(tmp_path / "train.tsv", *rows), validation_file=write(tmp_path / "dev.tsv", *rows[:3])
    )


def test_tokenize_gives_segment_ids_and_integer_labels_and_pads_nothing(tmp_path, tokenizer):
    rows = small_task(tmp_path).tokenize(tokenizer)["train"]
    assert set(rows.column_names) == {"input_ids", "token_type_ids", "attention_mask", "labels"}
    assert rows.features["labels"] == Value("int64")
    assert rows["labels"][:] == [1, 0, -100]
    ids = tokenizer.convert_tokens_to_ids(["[CLS]", "good", "film", "[SEP]"])
    assert rows["input_ids"][0] == ids


def test_segment_ids_are_asked_for_where_the_tokenizer_gives_none_unasked(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "model_input_names", ["input_ids", "attention_mask"])
    write(tmp_path / "RTE/dev.tsv", ["index", "sentence1", "sentence2", "label"], ["0", "good", "bad", "entailment"])
    rows = load_task("rte", tmp_path).tokenize(tokenizer, max_length=16)["validation"]
    assert rows["token_type_ids"][0] == [0, 0, 0, 1, 1]


def test_regression_labels_are_float32_with_nan_for_none(tmp_path, tokenizer):
    path = write(tmp_path / "scores.tsv", ["text", "label"], ["good", "1.5"], ["bad", ""], ["fun", "2"])
    task = load_text_dataset(train_file=path, validation_file=path)
    rows = task.tokenize(tokenizer)["train"]
    assert rows.features["labels"] == Value("float32")
    np.testing.assert_array_equal(rows["labels"][:], [1.5, np.nan, 2.0])
    scores = task.compute_metrics(EvalPrediction(np.array([3.0, 0.0, 4.0]), np.array(rows["labels"][:])))
    errors = {"mae": 1.75, "rmse": math.sqrt((1.5**2 + 2**2) / 2), "r2": 1 - 3.125 / 0.0625}
    assert scores == pytest.approx({"pearson": 1.0, "spearmanr": 1.0, **errors})


def test_rows_are_cut_to_max_length_and_to_what_the_tokenizer_allows(tmp_path, tokenizer, caplog):
    path = write(tmp_path / "long.tsv", ["text", "label"], ["film " * 100, "a"], ["plot", "b"])
    task = load_text_dataset(train_file=path, validation_file=path)
    caplog.clear()
    assert len(task.tokenize(tokenizer, max_length=10)["train"]["input_ids"][0]) == 10
    assert not caplog.records
    assert len(task.tokenize(tokenizer, max_length=128)["train"]["input_ids"][0]) == 64
    assert "the tokenizer allows 64" in caplog.text


def test_a_cut_of_the_tokenizer_is_said_once_for_all_datasets_of_a_task(tmp_path, tokenizer, caplog):
    path = write(tmp_path / "long.tsv", ["text", "label"], ["film " * 100, "a"], ["plot", "b"])

    def load():
        return load_text_dataset(train_file=path, validation_file=path)

    task = load()
    task.tokenize(tokenizer, max_length=128)
    in_other_order = task.for_model(named_model("b", "a"))
    in_other_order.tokenize_dataset(Dataset.from_dict({"text": ["plot"]}), tokenizer, max_length=128)
    assert caplog.text.count("the tokenizer allows 64") == 1
    task.tokenize(tokenizer, max_length=100)  # another cut
    assert caplog.text.count("but the tokenizer allows 64") == 2
    load().tokenize(tokenizer, max_length=128)  # another run in the same process
    assert caplog.text.count("`max_length` is 128, but the tokenizer allows 64") == 2


def test_text_without_labels_can_be_tokenised_for_the_task(tmp_path, tokenizer):
    (tmp_path / "more.txt").write_text("good plot\n\n  \nthe actor\n")
    text = load_transfer_text(tmp_path / "more.txt")
    rows = small_task(tmp_path).tokenize_dataset(text, tokenizer)
    assert rows["labels"][:] == [-100, -100]


def test_labels_follow_the_models_own_order_by_name(tmp_path, tokenizer):
    task = small_task(tmp_path)
    expected = {
        ("POSITIVE", "NEGATIVE"): (["positive", "negative"], [0, 1, -100]),
        ("neutral", "Positive", "Negative"): (["neutral", "positive", "negative"], [1, 2, -100]),
        ("LABEL_0", "LABEL_1"): (["negative", "positive"], [1, 0, -100]),
    }
    for names, (label_names, labels) in expected.items():
        for_model = task.for_model(named_model(*names))
        assert for_model.label_names == label_names
        assert for_model.datasets["train"].features["label"].names == label_names
        assert for_model.tokenize(tokenizer)["train"]["labels"][:] == labels
    assert task.label_names == ["negative", "positive"]  # the task itself does not change


def test_a_pairing_by_order_is_shown(tmp_path, caplog):
    small_task(tmp_path).for_model(named_model("LABEL_0", "LABEL_1"))
    assert "by the order of their classes, not by name: LABEL_0 = negative, LABEL_1 = positive." in caplog.text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("good", "bad"),
            r"negative, positive; the model has good, bad. .*in their order \(good, bad\); or map",
        ),
        (("positive", "LABEL_1"), "classes negative, positive; the model has positive, LABEL_1. If"),
        (
            ("a", "b", "c"),
            r"negative, positive; the model has a, b, c. .*in their order \(a, b, c\); or map",
        ),
        (("LABEL_0", "LABEL_1", "LABEL_2"), "the model has LABEL_0, LABEL_1, LABEL_2. If"),
        (("Negative", "NEGATIVE", "positive"), r"0: 'negative', 1: 'positive'.* and \{.*Set `id2label`"),
    ],
)
def test_labels_that_the_model_does_not_know_are_refused_with_the_names_of_both(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        small_task(tmp_path).for_model(named_model(*names))


@pytest.mark.parametrize(
    ("names", "model_names", "advice"),
    [
        (("neg", "pos"), ("negative", "positive"), "--class_names neg,pos, your names"),
        (("neg", "pos"), ("Positive", "Negative"), "--class_names pos,neg, your names"),
        (
            ("n,g", "pos"),
            ("n,gative", "positive"),
            r"""order \(n,gative, positive\); or pass --label_map '{"n,g": "n,gative", "pos": "positive"}'""",
        ),
        (
            ("neg", "pos"),
            ("neutral", "positive", "negative"),
            """pass --label_map '{"neg": "negative", "pos": "positive"}'""",
        ),
        (("p", "n"), ("positive", "neutral"), r'--label_map \'{"n": "neutral", "p": "positive"}'),
        (("po", "pos"), ("positive", "negative"), "or map your labels to these names"),
        (("n", "p"), ("negative", "neutral", "positive"), "or map your labels to these names"),
    ],
)
def test_pairs_are_suggested_only_if_each_name_abbreviates_exactly_one(tmp_path, names, model_names, advice):
    with pytest.raises(ValueError, match=advice):
        small_task(tmp_path, names).for_model(named_model(*model_names))


def test_a_model_with_fewer_outputs_was_trained_for_another_task(tmp_path):
    rows = [["text", "label"], ["a vote", "politics"], ["a cell", "science"], ["a goal", "sports"]]
    path = write(tmp_path / "train.tsv", *rows)
    task = load_text_dataset(train_file=path, validation_file=path)
    message = r"3 classes \(politics, science, sports\), the model has 2 outputs \(bad, good\).*--fine_tune_teacher"
    with pytest.raises(ValueError, match=message):
        task.for_model(named_model("bad", "good"))


def test_a_class_that_only_the_model_lacks_is_named_with_its_split_and_rows_and_can_be_removed(tmp_path):
    train = [["text", "label"], ["good film", "pos"], ["bad film", "neg"]]
    files = {
        "train_file": write(tmp_path / "train.tsv", *train),
        "validation_file": write(tmp_path / "dev.tsv", *train),
        "test_file": write(tmp_path / "test.tsv", *train, ["so so", "neutral"], ["a film", "neutral"]),
    }
    model = named_model("neg", "pos")
    lacks = r"^test has a class that the model lacks: 'neutral' \(2 rows\). The model has neg, pos. "
    message = lacks + """Remove these labels with --label_map '{"neutral": null}'"""
    with pytest.raises(ValueError, match=message):
        load_text_dataset(**files).for_model(model)
    task = load_text_dataset(**files, label_map='{"neutral": null}').for_model(model)
    assert task.datasets["test"]["label"][:] == [1, 0, -1, -1]


def test_a_model_for_another_kind_of_problem_is_refused(tmp_path):
    with pytest.raises(ValueError, match="are for single_label_classification, and the model .* regression"):
        small_task(tmp_path).for_model(named_model("score"))


def test_f1_keeps_its_positive_class_when_the_model_orders_the_classes_otherwise(tmp_path):
    write(tmp_path / "QQP/dev.tsv", ["question1", "question2", "is_duplicate"], ["a", "b", "1"])
    task = load_task("qqp", tmp_path)
    logits, labels = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]), np.array([1, 0, 0])
    expected = task.compute_metrics(EvalPrediction(logits, labels))
    swapped = EvalPrediction(logits[:, ::-1], np.array([0, 1, 1]))
    assert expected["f1"] == pytest.approx(2 * 1 / (3 + 1))
    assert task.for_model(named_model("Duplicate", "Not_Duplicate")).compute_metrics(swapped) == expected
    assert task.compute_metrics(swapped)["f1"] == 0.0  # of the class `not_duplicate`
    assert task.for_model(named_model("not_duplicate", "duplicate")) is task


# --- Any dataset


def test_named_columns_pairs_and_a_test_file_without_labels(tmp_path):
    header = ["number", "title", "body", "note", "kind"]
    train = write(tmp_path / "train.tsv", header, ["1", 'a "', "b", "n", "007"], ["2", "c", "d", "n", "042"])
    test = write(tmp_path / "test.tsv", header[:4], ["3", "e", "f", "n"])
    task = load_text_dataset(
        train_file=train,
        validation_file=train,
        test_file=test,
        text_column_names=["title", "body"],
        label_column_name="kind",
        metric_name="f1",
    )
    assert task.datasets["train"].to_dict() == {"title": ['a "', "c"], "body": ["b", "d"], "label": [0, 1]}
    assert task.datasets["test"]["label"][:] == [-1]
    assert task.label_names == ["007", "042"]
    assert task.metric_name == "f1"
    metrics = default_metrics("single_label_classification", task.label_names)
    assert set(task.compute_metrics(EvalPrediction(np.eye(2), np.arange(2)))) == {"f1", *metrics}


def test_a_folder_is_read_with_its_class_label_and_a_file_may_bring_the_validation_split(tmp_path):
    features = Features({"text": Value("string"), "labels": ClassLabel(names=["spam", "ham"])})
    (tmp_path / "mail").mkdir()
    rows = {"text": ["a", "b", "c"], "labels": [0, 1, -1]}
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "mail" / "train.parquet")
    with pytest.raises(ValueError, match=r"only train. Pass --validation_file"):
        load_text_dataset(dataset_name=str(tmp_path / "mail"))
    dev = write(tmp_path / "dev.tsv", ["text", "labels"], ["d", "ham"])
    task = load_text_dataset(dataset_name=str(tmp_path / "mail"), validation_file=dev)
    assert task.label_names == ["spam", "ham"]
    assert task.datasets["train"]["label"][:] == [0, 1, -1]
    assert task.datasets["validation"]["label"][:] == [1]
    assert (task.name, task.dataset_id) == ("mail", "mail")
    write(dev, ["text", "labels"], ["d", "1"])
    with pytest.raises(ValueError, match=r"\['1'\] are not among the classes .* \['spam', 'ham'\]"):
        load_text_dataset(dataset_name=str(tmp_path / "mail"), validation_file=dev)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric_name": "pearson"}, "Unknown metric"),
        ({"revision": "main"}, "`dataset_name` is not set"),
        ({"dataset_config_name": "en"}, "`dataset_name` is not set"),
        ({"problem_type": "ranking"}, "must be one of single_label_classification"),
    ],
)
def test_what_is_wrong_with_an_argument_is_said(tmp_path, arguments, message):
    path = write(tmp_path / "data.tsv", ["text", "label"], ["a", "x"], ["b", "y"])
    with pytest.raises(ValueError, match=message):
        load_text_dataset(train_file=path, validation_file=path, **arguments)


def test_data_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no.csv"):
        load_text_dataset(train_file=tmp_path / "no.csv")
    with pytest.raises(ValueError, match="no data at all"):
        load_text_dataset()
    path = write(tmp_path / "data.tsv", ["text", "label"], ["a", "x"], ["b", "y"])
    empty = write(tmp_path / "empty.tsv", ["text", "label"])
    with pytest.raises(ValueError, match=r"empty.tsv: no rows. Add rows, or leave the file out"):
        load_text_dataset(train_file=path, validation_file=empty)


def test_transfer_text_keeps_only_text_and_takes_the_names_of_the_task(tmp_path):
    path = write(tmp_path / "data.tsv", ["sentence", "label"], ["a", "x"], ["b", ""])
    assert load_transfer_text(path).to_dict() == {"text": ["a", "b"]}
    assert load_transfer_text(path, text_column_names=["sentence"]).to_dict() == {"sentence": ["a", "b"]}
    with pytest.raises(ValueError, match="text columns sentence; the task has premise, hypothesis"):
        load_transfer_text(path, text_column_names=["premise", "hypothesis"])
    pairs = write(tmp_path / "pairs.tsv", ["hypothesis", "other"], ["a", "b"])
    with pytest.raises(
        ValueError, match="cannot tell which column is the text"
    ):  # by position, the hypothesis would be the premise
        load_transfer_text(pairs, text_column_names=["premise", "hypothesis"])
    (tmp_path / "folder").mkdir()
    Dataset.from_dict({"text": ["a"], "label": [3]}).to_parquet(tmp_path / "folder" / "train.parquet")
    assert load_transfer_text(dataset_name=str(tmp_path / "folder")).to_dict() == {"text": ["a"]}
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"empty.txt: no rows"):
        load_transfer_text(tmp_path / "empty.txt")
    with pytest.raises(ValueError, match=r"^\S*empty.txt, \S*empty.txt: no rows"):
        load_transfer_text([tmp_path / "empty.txt"] * 2)
    with pytest.raises(ValueError, match="either a file or the name"):
        load_transfer_text()


def test_a_folder_is_read_as_it_is_now_and_not_as_another_of_its_name(tmp_path):
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: validation\n    path: rows.csv\n---\n"
    for parent, texts in (("a", ["one", "two"]), ("b", ["three", "four"]), ("b", ["five", "six"])):
        folder = tmp_path / parent / "folder"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rows.csv").write_text("text,label\n" + "".join(f"{text},{i}\n" for i, text in enumerate(texts)))
        (folder / "README.md").write_text(card)
        assert load_text_dataset(dataset_name=str(folder)).datasets["validation"]["text"][:] == texts


def test_lists_of_names_make_a_multi_label_task(tmp_path):
    rows = [("one", ["b", "a"]), ("two", []), ("three", None), ("four", ["c"])]
    for name in ("train", "validation"):
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    task = load_text_dataset(train_file=tmp_path / "train.jsonl", validation_file=tmp_path / "validation.jsonl")
    assert (task.problem_type, task.label_names) == ("multi_label_classification", ["a", "b", "c"])
    assert task.metric_name == "f1_micro"
    labels = np.array(task.datasets["train"]["label"][:])
    assert np.array_equal(labels, [[1, 1, 0], [0, 0, 0], [np.nan] * 3, [0, 0, 1]], equal_nan=True)
    # A model that has another order, and one more class.
    task = task.for_model(named_model("c", "a", "x", "b", problem_type="multi_label_classification"))
    tokens = task.tokenize(tiny_tokenizer(), 16)["train"]
    expected = [[0, 1, 0, 1], [0, 0, 0, 0], [np.nan] * 4, [1, 0, 0, 0]]
    assert np.array_equal(np.array(tokens["labels"][:]), expected, equal_nan=True)
    logits = np.where(np.nan_to_num(np.array(expected, dtype=float)) > 0, 1.0, -1.0)
    assert task.compute_metrics(EvalPrediction(predictions=logits, label_ids=np.array(expected)))["f1_micro"] == 1.0
