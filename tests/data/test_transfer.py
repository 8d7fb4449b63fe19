"""Transfer sets: what is drawn from where, what is dropped and why, and that all of it is said."""

import csv
import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny import LABEL_NAMES, WORDS, tiny_model, tiny_rows

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.cli import main
from hf_distill.cli.arguments import DataArguments
from hf_distill.data import (
    drop_near_duplicates,
    find_near_duplicates,
    mix_sources,
    out_of_domain_share,
    select_by_teacher,
    teacher_confidence,
)
from hf_distill.data.minhash import Shingles

pytestmark = pytest.mark.usefixtures("few_timed_passes")

ONE_CLASS, SEVERAL = PROBLEM_TYPES["single_label_classification"], PROBLEM_TYPES["multi_label_classification"]


def texts(*rows):
    return Dataset.from_dict({"text": list(rows)})


def numbered(count, name):
    return texts(*(f"{name} {i}" for i in range(count)))


def random_texts(count, num_words, seed=0):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, num_words)) for _ in range(count)]


# --- Sources


def test_without_weights_and_limit_every_row_stays_where_it_is():
    mixed, drawn = mix_sources([texts("a", "b"), texts("c")])
    assert (mixed["text"][:], drawn) == (["a", "b", "c"], [2, 1])


@pytest.mark.parametrize(
    ("sizes", "weights", "num_rows", "expected"),
    [
        ([100, 100], [0.7, 0.3], 100, [70, 30]),
        (
            [100, 100],
            [7, 3],
            None,
            [99, 43],
        ),  # 142 rows: 99.4 and 42.6, rounded
        ([10, 100, 500], [1, 1, 1], 300, [10, 100, 190]),  # what the small ones lack, the large one gives
        ([3, 3, 3], [1, 1, 1], 4, [2, 1, 1]),
        ([300, 100], None, 40, [30, 10]),  # by size
        ([30, 10], [1, 1], 1000, [30, 10]),  # all there is
        ([30, 0], None, None, [30, 0]),
    ],
)
def test_what_is_drawn_follows_the_weights_as_far_as_the_sources_reach(sizes, weights, num_rows, expected):
    sources = [numbered(max(size, 1), name).select(range(size)) for size, name in zip(sizes, "abc", strict=False)]
    mixed, drawn = mix_sources(sources, weights, num_rows)
    found = [sum(text.startswith(name) for text in mixed["text"]) for name in "abc"[: len(sizes)]]
    assert found == drawn
    assert drawn == expected
    assert len(set(mixed["text"])) == len(mixed)  # without replacement


def test_the_draw_is_repeatable_and_a_larger_one_contains_a_smaller_one():
    source = numbered(50, "a")
    ten, ten_again, twenty = (mix_sources([source], num_rows=n, seed=3)[0]["text"][:] for n in (10, 10, 20))
    assert ten == ten_again
    assert set(ten) < set(twenty)
    assert ten != mix_sources([source], num_rows=10, seed=4)[0]["text"][:]
    assert ten != source["text"][:10]


@pytest.mark.parametrize(
    ("sources", "weights", "message"),
    [
        ([texts("a"), texts("b")], [1.0], "2 numbers > 0"),
        ([texts("a"), texts("b")], [1.0, 0.0], "2 numbers > 0"),
        ([texts("a"), texts("b")], [1.0, float("nan")], "2 numbers > 0"),
        ([texts("a"), texts("b").select([])], [1.0, 1.0], r"\[1, 0\]"),
        ([texts("a"), Dataset.from_dict({"sentence": ["b"]})], None, "text; sentence"),
        ([texts("a").select([])], None, r"\[0\] texts"),
    ],
)
def test_sources_that_cannot_be_mixed_are_refused(sources, weights, message):
    with pytest.raises(ValueError, match=message):
        mix_sources(sources, weights)


# --- Near-duplicates


def test_jaccard_similarity_is_of_pairs_of_words_without_case_and_punctuation():
    # the-card card-has has-not not-come | the-card card-has has-not not-come come-yet: 4 of 5
    shingles = Shingles(texts("The card has not come.", "the card has not come, yet?", "", "?!", "?!", "A"), ["text"])
    assert shingles.jaccard(0, 1) == pytest.approx(4 / 5)
    assert shingles.jaccard(3, 4) == 1.0
    assert shingles.jaccard(2, 3) == shingles.jaccard(0, 5) == 0.0


def test_the_share_of_equal_signatures_estimates_the_jaccard_similarity():
    words = [f"w{i}" for i in range(200)]
    rows = [" ".join(words[start : start + 100]) for start in range(0, 100, 10)]
    shingles = Shingles(texts(*rows), ["text"])
    signatures = shingles.signatures(1024)
    for other in range(1, 10):
        exact = (99 - 10 * other) / (99 + 10 * other)  # shared of 99 pairs of words each
        assert shingles.jaccard(0, other) == pytest.approx(max(0, exact))
        estimate = (signatures[0] == signatures[other]).mean()
        assert estimate == pytest.approx(max(0, exact), abs=4 * 0.5 / 1024**0.5)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 1.0])
def test_the_search_finds_what_comparing_all_pairs_finds(threshold):
    rows = random_texts(60, 5) + random_texts(60, 5, seed=1)
    rows += [f"{row} {WORDS[i % len(WORDS)]}" for i, row in enumerate(rows[:60])] + rows[30:90]
    shingles = Shingles(texts(*rows), ["text"])
    expected = []
    for row in range(len(rows)):
        kept = [other for other in range(row) if expected[other] < 0]
        expected.append(next((other for other in kept if shingles.jaccard(row, other) >= threshold), -1))
    assert shingles.first_near_duplicates(threshold).tolist() == expected
    assert 0 < sum(other >= 0 for other in expected) < len(rows)


def test_the_first_is_kept_and_leaks_of_the_validation_texts_are_dropped_and_counted():
    transfer = texts("My card has not come yet", "my card has not come yet!", "a", "Is it open?", "A", "where is it")
    against = {"validation": texts("is it open", "nothing like it"), "train": texts("Is it open!", "where is it?")}
    assert find_near_duplicates(transfer, ["text"], against=against) == [
        None, "an earlier text", None, "validation", "an earlier text", "train",
    ]  # fmt: skip
    kept, dropped = drop_near_duplicates(transfer, ["text"], against=against)
    assert kept["text"][:] == ["My card has not come yet", "a"]
    assert dropped == {"an earlier text": 2, "validation": 1, "train": 1}


def test_a_text_of_a_pair_is_no_duplicate_of_the_other_columns_text():
    pairs = Dataset.from_dict(
        {"a": ["who is it", "what is this", "Who is it?"], "b": ["what is this", "who is it", "What is this"]}
    )
    assert find_near_duplicates(pairs, ["a", "b"]) == [None, None, "an earlier text"]


def test_a_dropped_text_takes_no_other_with_it():
    # The second is like the first and the third, these two are not alike: one chain of three loses only the second.
    rows = ["a b c d e f", "a b c d e f g", "b c d e f g h"]
    assert find_near_duplicates(texts(*rows), ["text"], 0.7) == [None, "an earlier text", None]


@pytest.mark.parametrize(
    ("num_words", "change"),
    [
        (5, lambda words: [*words, "x"]),
        (10, lambda words: [*words[:-1], "x"]),
        (19, lambda words: ["a", "x", *words[2:]]),
    ],
)
def test_one_word_makes_no_other_text_from_a_length_on(num_words, change):
    for length in (num_words - 1, num_words):
        words = list("abcdefghijklmnopqrstu"[:length])
        found = find_near_duplicates(texts(" ".join(words), " ".join(change(words))), ["text"])
        assert found == [None, "an earlier text" if length == num_words else None]


def test_a_threshold_that_is_no_similarity_is_refused():
    with pytest.raises(ValueError, match="from 0.1 to 1, got 80"):
        find_near_duplicates(texts("a"), ["text"], 80)


# --- What the teacher says


def with_logits(*rows):
    return Dataset.from_dict({"text": [str(i) for i in range(len(rows))], "teacher_logits": [list(r) for r in rows]})


def test_confidence_is_the_probability_of_the_likeliest_answer():
    logits = np.log([[0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3]])
    assert teacher_confidence(logits + 100, ONE_CLASS) == pytest.approx([0.7, 1 / 3])
    # Several labels: 0.9 * 0.8, the set of the first class alone.
    odds = np.log([[0.9 / 0.1, 0.2 / 0.8]])
    assert teacher_confidence(odds, SEVERAL) == pytest.approx([0.72])
    assert teacher_confidence(np.array([[-np.inf, 0.0]]), ONE_CLASS) == pytest.approx([1.0])


@pytest.mark.parametrize("name", ["regression", "token_classification"])
def test_a_problem_without_confidence_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} has none"):
        select_by_teacher(with_logits([0.0]), PROBLEM_TYPES[name], min_confidence=0.5)


def test_rows_are_chosen_by_confidence_and_balanced_over_the_predicted_classes():
    rows = with_logits(*[[0, 3, 0]] * 6, [3, 0, 0], *[[0, 0, 3]] * 3, [0, 0, 0])
    sure = select_by_teacher(rows, ONE_CLASS, min_confidence=0.5)
    assert sure["text"][:] == [str(i) for i in range(10)]
    balanced = select_by_teacher(rows, ONE_CLASS, min_confidence=0.5, num_rows=7, balanced=True)
    assert np.bincount(np.argmax(balanced["teacher_logits"], axis=1)).tolist() == [1, 3, 3]
    assert len(select_by_teacher(rows, ONE_CLASS, num_rows=4)) == 4
    again = select_by_teacher(rows, ONE_CLASS, min_confidence=0.5, num_rows=7, balanced=True)
    assert again["text"][:] == balanced["text"][:]
    with pytest.raises(ValueError, match="below 0.99 on all 11 texts"):
        select_by_teacher(rows, ONE_CLASS, min_confidence=0.99)
    with pytest.raises(ValueError, match="exclude each other"):
        select_by_teacher(rows, SEVERAL, num_rows=3, balanced=True)


def test_out_of_domain_is_below_the_fifth_percentile_of_the_reference():
    confident = np.stack([np.linspace(1, 3, 101), np.zeros(101)], axis=1)
    assert out_of_domain_share(confident, confident, ONE_CLASS) == pytest.approx(5 / 101)
    unsure = np.array([[0.5, 0.0], [2.0, 0.0], [0.0, 0.1], [0.0, 9.0]])
    assert out_of_domain_share(unsure, confident, ONE_CLASS) == 0.5


# --- The commands


@pytest.fixture
def folder(tmp_path, tokenizer):
    """A teacher, labelled rows, and two files of unlabelled text that repeat some of them."""
    tiny_model(2, seed=1).save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    for name, seed in (("train", 0), ("validation", 1)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            rows.writerows((row["text"], LABEL_NAMES[row["label"]]) for row in tiny_rows(24, seed))
    longest = [max((row["text"] for row in tiny_rows(24, seed)), key=len) for seed in (0, 1)]
    (tmp_path / "a.txt").write_text("\n".join([*random_texts(20, 9), longest[0].upper(), longest[1] + "!"]))
    (tmp_path / "b.txt").write_text("\n".join([*random_texts(30, 9, seed=5), *random_texts(2, 9)]))
    return tmp_path


def run(command, folder, **changes):
    values = {
        "teacher_model_name_or_path": folder / "teacher",
        "train_file": folder / "train.csv",
        "validation_file": folder / "validation.csv",
        "transfer_file": f"{folder}/a.txt,{folder}/b.txt",
        "transfer_deduplicate": True,
        "transfer_weights": "0.5,0.5",
        "max_transfer_samples": 32,
        "use_cpu": True,
        "teacher_cache_dir": folder / "store",
        "output_dir": folder / command,
        **changes,
    }
    main([command, *(w for n, v in values.items() if v is not None for w in (f"--{n}", str(v)))])


def train(folder, **changes):
    run("train", folder, **{"student_num_hidden_layers": 1, "max_steps": 1, **changes})
    return json.loads((folder / "train" / "distillation.json").read_text())["dataset"]


def confidences(folder, tokenizer, rows):
    model = tiny_model(2, seed=1)
    with torch.no_grad():
        return [model(**tokenizer(row, return_tensors="pt")).logits.softmax(-1).max().item() for row in rows]


def test_train_and_cache_choose_the_same_texts_and_say_what_was_dropped(folder, tokenizer, capsys):
    limit = float(np.median(confidences(folder, tokenizer, random_texts(20, 9) + random_texts(30, 9, seed=5))))
    dataset = train(folder, cache_teacher_outputs=True, transfer_min_confidence=limit)
    report, printed = dataset["transfer"], capsys.readouterr().out
    assert report["sources"] == [
        {"name": "a.txt", "rows": 22, "drawn": 16},
        {"name": "b.txt", "rows": 32, "drawn": 16},
    ]
    assert report["near_duplicates_of"] == {"train": 1, "validation": 1, "an earlier text": 2}
    assert report["not_drawn"] == 54 - 4 - 32
    assert 0 < report["below_min_confidence"] < 32
    assert report["rows"] == 32 - report["below_min_confidence"] == dataset["unlabelled_rows"]
    assert 0 <= report["out_of_domain_share"] <= 1
    assert "(16 of 22 from a.txt, 16 of 32 from b.txt)" in printed
    assert "1 near-duplicates of validation" in printed
    run("cache", folder, transfer_min_confidence=limit)
    printed = capsys.readouterr().out
    assert printed.count("the teacher ran on 0") == 2  # `train` has asked it everything
    rows = Dataset.from_parquet(str(folder / "cache" / "train.parquet"), cache_dir=str(folder / "hf"))
    unlabelled = [row["text"] for row in rows if row["label"] is None]
    assert len(unlabelled) == report["rows"]
    assert min(confidences(folder, tokenizer, unlabelled)) >= limit
    # A student of the folder knows how its texts were chosen.
    described = {"dataset_name": folder / "cache", "student_model_name_or_path": folder / "teacher"}
    unset = dict.fromkeys(
        ("teacher_model_name_or_path", "train_file", "validation_file", "transfer_file", "transfer_deduplicate",
         "transfer_weights", "max_transfer_samples", "student_num_hidden_layers")
    )  # fmt: skip
    assert train(folder, **{**unset, **described, "overwrite_output_dir": True})["transfer"] == report


def test_text_alone_is_chosen_and_the_choice_is_written_beside_the_logits(folder, capsys):
    run("cache", folder, train_file=None, validation_file=None, transfer_weights=None, max_transfer_samples=40)
    transfer = json.loads((folder / "cache" / "teacher.json").read_text())["transfer"]
    assert transfer["near_duplicates_of"] == {"an earlier text": 2}
    assert (transfer["not_drawn"], transfer["rows"]) == (54 - 2 - 40, 40)
    assert str(folder) not in json.dumps(transfer)


def test_a_regression_has_no_confidence_and_says_so_before_a_teacher_is_loaded(folder, capsys):
    for name in ("train", "validation"):
        (folder / f"{name}.csv").write_text("text,label\ngood film,1.5\nbad film,0.5\n")
    with pytest.raises(SystemExit):
        train(folder, cache_teacher_outputs=True, transfer_min_confidence=0.5, teacher_model_name_or_path="absent")
    assert "regression has none" in capsys.readouterr().err


def test_text_that_the_teacher_does_not_know_gives_a_warning(folder, capsys):
    from hf_distill.pipeline.transfer import TransferSet

    rows = with_logits(*[[2, 0]] * 4, *[[0, 0]] * 2, [2, 0])
    transfer = TransferSet(rows.select(range(4, 7)), ONE_CLASS, None, {"sources": [], "not_drawn": 0, "rows": 3})
    assert transfer.select(rows, rows.select(range(4))) is rows
    assert transfer.report["out_of_domain_share"] == pytest.approx(2 / 3)
    assert "66.7% (5 % of the evaluation" in transfer.summary()
    assert "Warning: the teacher is unsure" in transfer.summary()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transfer_min_confidence": 0.5}, "add --cache_teacher_outputs True"),
        ({"transfer_min_confidence": 1.5}, "a probability between 0 and 1, got 1.5"),
        ({"transfer_weights": "0.5,0.3,0.2"}, "3 numbers for 2 sources"),
        ({"transfer_weights": "0.5,-1"}, "numbers > 0 like 0.7,0.3, got '0.5,-1'"),
        ({"max_transfer_samples": 0}, "at least 1, got 0"),
        ({"transfer_file": None}, "--transfer_weights needs unlabelled text"),
        ({"transfer_file": "absent.txt", "transfer_weights": None}, "absent.txt"),
    ],
)
def test_what_is_wrong_with_the_flags_is_one_message(folder, capsys, changes, message):
    with pytest.raises(SystemExit) as stopped:
        train(folder, **changes)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_files_and_data_sets_are_sources_together():
    data = DataArguments(transfer_file=["a.txt,b.txt"], transfer_dataset_name=["user/c"], transfer_weights="1,2,3")
    assert [*data.transfer_files, *data.transfer_dataset_names] == ["a.txt", "b.txt", "user/c"]
    assert data.weights == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("text", "other", "is_near"),
    [
        (
            "\u0935\u0939 \u0939\u093e\u0930\u093e",
            "\u0935\u0939 \u0939\u0940\u0930\u094b",
            False,
        ),  # only the vowel signs differ
        ("\u2764\ufe0f", "\u2600\ufe0f", False),  # a heart and a sun, each with a mark that chooses the colored form
        ("good film \u2764\ufe0f", "good film", True),
        ("cafe\u0301 noir", "cafe noir", False),
    ],
)
def test_marks_belong_to_the_letter_before_them(text, other, is_near):
    against = {"validation": Dataset.from_dict({"text": [other]})}
    found = find_near_duplicates(Dataset.from_dict({"text": [text]}), ["text"], against=against)
    assert found == (["validation"] if is_near else [None])
