"""Sentences of words with tags: how they are read, tokenised and scored, and `hf-distill` on them."""

import json

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from letters import letters_tokenizer
from tiny import TINY, sharpen, tiny_rows
from transformers import (
    AutoModelForTokenClassification,
    BertConfig,
    BertForTokenClassification,
    EvalPrediction,
    RobertaTokenizer,
)

from hf_distill.cli import main
from hf_distill.data import load_text_dataset, load_transfer_text
from hf_distill.data.metrics import default_metrics
from hf_distill.data.reading import read_file
from hf_distill.pipeline.loading import ModelReference, load_tokenizer
from hf_distill.teachers import load_teacher

pytestmark = pytest.mark.usefixtures("few_timed_passes")

NAMES = ["B-thing", "I-thing", "O"]


def tag(words):
    """A film or a plot is a thing, and what follows it belongs to it."""
    starts = [word in ("film", "plot") for word in words]
    after = [False, *starts[:-1]]
    return ["B-thing" if s else "I-thing" if a else "O" for s, a in zip(starts, after, strict=True)]


def write_conll(path, sentences):
    """Word and tag a line, an empty line after each sentence."""
    lines = ["\n".join(f"{w}\t{t}" for w, t in zip(s, tag(s), strict=True)) for s in sentences]
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return path


def tagger_with(names):
    return BertForTokenClassification(BertConfig(**TINY, num_hidden_layers=1, id2label=dict(enumerate(names))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """A pretrained encoder, tagged sentences in CoNLL files and untagged ones in a text file."""
    folder = tmp_path_factory.mktemp("words")
    config = BertConfig(**TINY, num_hidden_layers=3, id2label=dict(enumerate(NAMES[::-1])))
    teacher = BertForTokenClassification(config)
    sharpen(teacher)
    teacher.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    for name, seed in (("train", 0), ("dev", 1)):
        write_conll(folder / f"{name}.conll", [row["text"].split() for row in tiny_rows(12, seed)])
    (folder / "transfer.txt").write_text("\n".join(row["text"] for row in tiny_rows(5, seed=2)))
    return folder


def test_a_conll_file_has_the_word_first_and_the_tag_last(tmp_path):
    path = tmp_path / "train.conll"
    path.write_text(
        "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\r\nrejects VBZ B-VP O\n\t\n\n# X O O\n\xa0 X O O", "utf-8"
    )
    assert read_file(path).dataset.to_dict() == {
        "tokens": [["EU", "rejects"], ["#", "\xa0"]],
        "tags": [["B-ORG", "O"], ["O", "O"]],
    }
    path.write_text("a O\nb\n")
    with pytest.raises(ValueError, match=r"train.conll, line 2: 1 columns, where the first word has 2: 'b'"):
        read_file(path)
    path.write_text("a\nb\n\nc")
    assert read_file(path).dataset.to_dict() == {"tokens": [["a", "b"], ["c"]]}


def test_words_and_tags_make_a_task_of_words(tmp_path):
    train = write_conll(tmp_path / "train.bio", [["a", "film"], ["the", "plot", "is"]])
    lines = [{"tokens": ["film"], "tags": ["B-thing"]}, {"tokens": ["a", "b"], "tags": ["O", None]}]
    dev = tmp_path / "dev.jsonl"
    dev.write_text("\n".join(map(json.dumps, [*lines, {"tokens": ["c"], "tags": None}])))
    task = load_text_dataset(train_file=train, validation_file=dev)
    assert (task.problem_type, task.label_names, task.metric_name) == ("token_classification", NAMES, "entity_f1")
    assert task.datasets["train"].to_dict() == {
        "tokens": [["a", "film"], ["the", "plot", "is"]],
        "label": [[2, 0], [2, 0, 1]],
    }
    assert task.datasets["validation"]["label"][:] == [[0], [2, -1], None]


def test_the_columns_of_a_data_set_on_the_hub_are_found(tmp_path):
    features = Features({
        "id": Value("string"), "tokens": List(Value("string")), "pos_tags": List(ClassLabel(names=["NN", "DT"])),
        "ner_tags": List(ClassLabel(names=["O", "B-x"])),
    })  # fmt: skip
    row = {"id": ["0"], "tokens": [["a", "film"]], "pos_tags": [[1, 0]], "ner_tags": [[0, 1]]}
    for split in ("train", "validation"):
        Dataset.from_dict(row, features=features).to_parquet(tmp_path / f"{split}.parquet")
    task = load_text_dataset(dataset_name=str(tmp_path))
    assert (task.label_names, task.datasets["train"]["label"][0]) == (["O", "B-x"], [0, 1])
    other = load_text_dataset(dataset_name=str(tmp_path), label_column_name="pos_tags")
    assert (other.label_names, other.metric_name) == (["NN", "DT"], "token_accuracy")
    with pytest.raises(ValueError, match=r"`entity_f1` counts spans .* the tags are \['NN', 'DT'\]"):
        load_text_dataset(dataset_name=str(tmp_path), label_column_name="pos_tags", metric_name="entity_f1")


def test_spans_are_scored_only_where_tags_spell_them():
    assert default_metrics("token_classification", NAMES) == ["entity_f1", "token_accuracy"]
    assert default_metrics("token_classification", ["S-thing", "O"]) == ["token_accuracy"]


def test_tags_follow_the_models_own_order_in_labels_and_metrics(folder, tokenizer):
    task = load_text_dataset(train_file=folder / "train.conll", validation_file=folder / "dev.conll")
    for_tagger = task.for_model(tagger_with(NAMES[::-1]))
    flat = [np.concatenate(ordered.tokenize(tokenizer)["validation"]["labels"][:]) for ordered in (task, for_tagger)]
    assert (flat[0] == np.where(flat[1] < 0, flat[1], 2 - flat[1])).all()
    assert set(flat[0]) == {-100, 0, 1, 2}
    labels = np.arange(36).reshape(4, 9) % 4 - 1
    logits = 2 * np.eye(3)[labels.clip(min=0)] + np.random.default_rng(0).normal(size=(4, 9, 3))
    reversed_labels = np.where(labels < 0, labels, 2 - labels)
    wanted = task.compute_metrics(EvalPrediction(logits, labels))
    assert 0 < wanted["entity_f1"] < 1
    assert for_tagger.compute_metrics(EvalPrediction(logits[..., ::-1], reversed_labels)) == wanted


@pytest.mark.parametrize("names", [[*NAMES, "B-more"], ["B-more", *NAMES[::-1]]])
def test_a_tagger_with_more_tags_than_the_data_is_scored_by_name(folder, names):
    task = load_text_dataset(train_file=folder / "train.conll", validation_file=folder / "dev.conll")
    for_tagger = task.for_model(tagger_with(names))
    assert for_tagger.label_names == names
    thing, more = names.index("B-thing"), names.index("B-more")
    labels = np.array([[thing, thing]])
    predicted = np.eye(len(names))[[[thing, more]]]
    assert for_tagger.compute_metrics(EvalPrediction(predicted, labels))["token_accuracy"] == 0.5


def test_untagged_sentences_come_as_lines_or_as_words(tmp_path):
    (tmp_path / "a.txt").write_text("a  good film\n\nfun\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"tokens": ["a", "b c"], "tags": ["O", "O"]}))
    (tmp_path / "c.csv").write_text("review,label\na b,1\n")
    read = [load_transfer_text(tmp_path / name, None, ["words"], are_words=True).to_dict() for name in
            ("a.txt", "b.jsonl", "c.csv")]  # fmt: skip
    assert read == [{"words": [["a", "good", "film"], ["fun"]]}, {"words": [["a", "b c"]]}, {"words": [["a", "b"]]}]


def test_words_without_tags_are_refused_where_words_are_named(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"tokens": ["a", "b"], "text": "a b", "label": "x"}))
    with pytest.raises(ValueError, match="expected two columns of lists, words and tags"):
        load_text_dataset(train_file=path, validation_file=path, text_column_names=["tokens"])
    with pytest.raises(ValueError, match="expected two columns of lists, words and tags"):
        load_text_dataset(train_file=path, validation_file=path, problem_type="token_classification")


def test_a_byte_level_tokenizer_sees_the_space_before_each_word(tmp_path):
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", "a", "f", "Ġa", "Ġf"]
    merges = [("Ġ", "a"), ("Ġ", "f")]
    RobertaTokenizer({token: i for i, token in enumerate(vocabulary)}, merges).save_pretrained(tmp_path)
    loaded = load_tokenizer(ModelReference(str(tmp_path)), for_words=True)
    assert loaded(["a", "f"], is_split_into_words=True)["input_ids"] == [0, 8, 9, 2]


def test_a_teacher_is_loaded_with_the_head_that_it_was_saved_with(folder):
    assert isinstance(load_teacher(folder / "teacher"), BertForTokenClassification)


def flags(folder, output_dir, *more):
    data = ["--train_file", folder / "train.conll", "--validation_file", folder / "dev.conll"]
    data += ["--transfer_file", folder / "transfer.txt", "--transfer_deduplicate"]
    steps = ["--num_train_epochs", 2, "--per_device_train_batch_size", 8, "--learning_rate", 3e-3, "--use_cpu"]
    return list(map(str, ["train", *data, *steps, "--output_dir", output_dir, *more]))


def test_train_fine_tunes_a_tagger_and_distils_it_through_the_cache(folder, tmp_path, capsys):
    more = ["--teacher_model_name_or_path", folder / "teacher", "--student_num_hidden_layers", 2, "--baseline"]
    out = tmp_path / "out"
    stored = ["--fine_tune_teacher", "--teacher_num_train_epochs", 2, "--cache_teacher_outputs"]
    stored += ["--teacher_cache_dir", tmp_path / "cache"]
    main(flags(folder, out, *more, *stored))
    assert "entity_f1" in capsys.readouterr().out
    student = AutoModelForTokenClassification.from_pretrained(out)
    assert [student.config.id2label[i] for i in range(3)] == NAMES
    record = json.loads((out / "distillation.json").read_text())
    assert (record["problem_type"], record["metric_name"]) == ("token_classification", "entity_f1")
    assert [record["dataset"][name] for name in ("train_rows", "unlabelled_rows", "eval_rows")] == [12, 5, 12]
    assert record["metrics"].keys() == {"teacher", "student", "baseline"}
    # The teacher that was fine-tuned, live: the same student.
    more[1] = out / "teacher"
    main(flags(folder, tmp_path / "live", *more))
    live = json.loads((tmp_path / "live" / "distillation.json").read_text())["metrics"]["student"]
    for name in ("loss", "loss_kl", "loss_ce", "token_accuracy"):
        assert record["metrics"]["student"][name] == pytest.approx(live[name], rel=1e-4)


def test_a_tagger_teaches_a_student_of_another_tokenizer(folder, tmp_path, capsys):
    config = BertConfig(**{**TINY, "vocab_size": 60}, num_hidden_layers=1)
    BertForTokenClassification(config).save_pretrained(tmp_path / "student")  # its head has two classes
    letters_tokenizer().save_pretrained(tmp_path / "student")
    more = ["--teacher_model_name_or_path", folder / "teacher", "--student_model_name_or_path", tmp_path / "student"]
    main(flags(folder, tmp_path / "out", *more, "--max_steps", 1))
    record = json.loads((tmp_path / "out" / "distillation.json").read_text())
    assert record["latency"].keys() == {"teacher", "student"}
    assert 0 < record["metrics"]["student"]["agreement"] < 1


def test_cache_fills_the_store_that_train_finds(folder, tmp_path, capsys):
    teacher = ["--teacher_model_name_or_path", folder / "teacher", "--teacher_cache_dir", tmp_path / "cache"]
    train = flags(folder, tmp_path / "out", *teacher)
    data = train[1 : train.index("--transfer_deduplicate")]
    main(["cache", *data, *map(str, teacher), "--use_cpu"])
    assert "train: 17 rows" in capsys.readouterr().out
    stored = sorted((tmp_path / "cache").rglob("*"))
    main([*train, "--cache_teacher_outputs", "--student_num_hidden_layers", "1", "--max_steps", "1"])
    assert sorted((tmp_path / "cache").rglob("*")) == stored
    with pytest.raises(SystemExit):
        main(["cache", *data, *map(str, teacher), "--use_cpu", "--output_dir", str(tmp_path / "texts")])
    assert "eave out --output_dir and --hub_dataset_id" in capsys.readouterr().err


def test_data_of_words_refuse_a_classifier_of_texts(folder, tmp_path, tokenizer, student, capsys):
    student.save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    more = ["--teacher_model_name_or_path", tmp_path / "teacher", "--student_num_hidden_layers", 1]
    with pytest.raises(SystemExit):
        main(flags(folder, tmp_path / "out", *more))
    error = capsys.readouterr().err
    assert "are for token_classification, and the model" in error
    assert "for single_label_classification, a BertForSequenceClassification with num_labels=3" in error
