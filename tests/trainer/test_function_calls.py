"""A teacher that is a function: further calls after an exception, stored answers, and what it was asked."""

import numpy as np
import pytest
from datasets import Dataset
from invariance import make_args
from tiny import visible_to_caplog

from hf_distill import DistillationTrainer
from hf_distill.cache import FunctionCache, function_calls, output_cache
from hf_distill.cache.function_calls import describe_numbers
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.teachers import FunctionTeacher

TEXTS = [f"text {letter}" for letter in "abcdefghij"]
SINGLE_LABEL = PROBLEM_TYPES["single_label_classification"]


class Service:
    """Answers texts, and raises the next of some exceptions instead whenever a text is among them.

    Args:
        errors: Text -> exceptions, one for each call that contains the text; None for an answer.
    """

    def __init__(self, **errors):
        self.errors, self.calls = {f"text {name}": list(given) for name, given in errors.items()}, []

    def __call__(self, texts):
        self.calls.append(texts)
        for text in texts:
            if self.errors.get(text) and (error := self.errors[text].pop(0)) is not None:
                raise error
        return [[-float(ord(text[-1])), 1.0] for text in texts]


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were waited, without waiting."""
    seconds = []
    monkeypatch.setattr(function_calls.time, "sleep", seconds.append)
    return seconds


def make_cache(folder, service, **settings):
    teacher = FunctionTeacher(service, **{"name": "service", "batch_size": 4, **settings})
    return FunctionCache(folder, teacher, 2, SINGLE_LABEL, ["text"])


def label(cache, texts=TEXTS):
    return cache.label(Dataset.from_dict({"text": texts}))["teacher_logits"][:]


EXPECTED = [[-float(ord(text[-1])), 1.0] for text in TEXTS]


def test_a_call_that_fails_is_made_again_after_waits_that_double(tmp_path, waits, caplog):
    service = Service(e=[ConnectionError("busy"), TimeoutError("slow")])
    cache = make_cache(tmp_path, service, retries=2)
    with visible_to_caplog("hf_distill.cache.function_calls"):
        assert label(cache) == EXPECTED
    assert waits == [1.0, 2.0]
    assert [texts[0] for texts in service.calls] == ["text a", "text e", "text e", "text e", "text i"]
    assert cache.count() == (10, 5, 0)
    assert caplog.messages == [
        "The teacher failed on the texts of the rows 4 to 7: ConnectionError: busy. 2 calls are left; the next one "
        "follows in 1 s.",
        "The teacher failed on the texts of the rows 4 to 7: TimeoutError: slow. 1 call is left; the next one follows "
        "in 2 s.",
    ]


def test_a_wait_is_a_minute_at_most(tmp_path, waits):
    cache = make_cache(tmp_path, Service(a=[OSError("down")] * 9), retries=8)
    with pytest.raises(RuntimeError, match=r"rows 0 to 3: OSError: down \(9 calls for these texts\)"):
        label(cache)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_failed_batch_leaves_all_earlier_answers_in_the_store(tmp_path, waits):
    service = Service(i=[ConnectionError("busy")])
    texts = [TEXTS[0], *TEXTS, TEXTS[8]]  # rows 9 and 10 are the last batch; a text that repeats is asked once
    with pytest.raises(RuntimeError, match="the texts of the rows 9 to 10: ConnectionError: busy .*asks only for"):
        label(make_cache(tmp_path, service), texts)
    again = Service()
    cache = make_cache(tmp_path, again)
    assert label(cache, texts) == [EXPECTED[0], *EXPECTED, EXPECTED[8]]
    assert again.calls == [["text i", "text j"]]
    assert cache.count() == (2, 1, 8)
    assert waits == []


def test_answers_of_a_slow_service_are_stored_every_minute(tmp_path, monkeypatch):
    """A process that is killed stores nothing in the end, so what counts is what is on the disk meanwhile."""
    clock, on_disk = [0.0], []
    monkeypatch.setattr(output_cache.time, "monotonic", lambda: clock[0])

    def answer(texts):
        on_disk.append(len(list(tmp_path.rglob("*.arrow"))))
        clock[0] += 35.0
        return Service()(texts)

    assert label(make_cache(tmp_path, answer, batch_size=2)) == EXPECTED
    assert on_disk == [0, 0, 1, 1, 2]  # after 70 and 140 seconds


def test_an_interrupt_is_not_retried_and_leaves_all_earlier_answers_in_the_store(tmp_path, waits):
    with pytest.raises(KeyboardInterrupt):
        label(make_cache(tmp_path, Service(e=[KeyboardInterrupt()]), retries=5))
    again = Service()
    assert label(make_cache(tmp_path, again)) == EXPECTED
    assert (len(again.calls[0]), waits) == (4, [])
    assert again.calls[0][0] == "text e"


def test_a_mistake_in_the_function_is_raised_at_once(tmp_path, waits):
    for error in (TypeError("no len()"), NameError("np"), AttributeError("strip"), NotImplementedError("later")):
        service = Service(a=[error])
        with pytest.raises(type(error)) as raised:
            label(make_cache(tmp_path, service, retries=5, name=None))
        assert raised.value is error
        assert len(service.calls) == 1
    # A KeyError can be an answer of the service without the field that was expected.
    assert label(make_cache(tmp_path, Service(a=[KeyError("choices")]), retries=1)) == EXPECTED
    assert waits == [1.0]


def test_the_same_exception_after_the_first_answer_is_one_of_the_service(tmp_path, waits):
    assert label(make_cache(tmp_path, Service(e=[TypeError("answer is None")]), retries=1)) == EXPECTED
    assert waits == [1.0]


def test_without_a_name_the_error_says_that_no_answer_is_kept():
    with pytest.raises(
        RuntimeError, match=r"1 call for these texts\). No answer is kept for the next run: that needs"
    ):
        label(make_cache(None, Service(e=[OSError("down")]), name=None))


def test_an_answer_of_the_wrong_shape_is_not_asked_for_again(tmp_path, waits):
    calls = []

    def answer(texts):
        calls.append(texts)
        return [[0.0]] * len(texts)

    with pytest.raises(ValueError, match="array of shape"):
        label(make_cache(tmp_path, answer, retries=3))
    assert (len(calls), waits) == (1, [])


def test_a_negative_number_of_further_calls_is_refused():
    with pytest.raises(ValueError, match="`retries` must be at least 0, got -1"):
        FunctionTeacher(Service(), retries=-1)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([7], "the text of row 7"),
        ([0, 1, 2, 9], "the texts of the rows 0 to 2 and 9"),
        ([1200, 1201], "the texts of the rows 1,200 to 1,201"),
        (range(0, 24, 2), "the texts of the rows 0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 2 more"),
    ],
)
def test_rows_are_named_by_ranges(numbers, text):
    assert describe_numbers(np.array(numbers)) == text


@pytest.mark.parametrize("name", [None, "letters"])
def test_the_trainer_says_and_records_what_the_function_was_asked(
    student, dataset, tokenizer, tmp_path, caplog, waits, name
):
    texts = dataset.select_columns(["text", "labels"]).map(lambda row: tokenizer(row["text"]), batched=True)
    num_train, num_all = len(set(texts["text"][:20])), len(set(texts["text"]))
    failures = iter([ConnectionError("busy"), None, None])

    def count_letters(given):
        if (error := next(failures, None)) is not None:
            raise error
        return [[-float(text.count(letter)) for letter in "aot"] for text in given]

    def make():
        args = make_args(tmp_path, cache_teacher_outputs=name is not None, teacher_cache_dir=str(tmp_path / "cache"))
        with visible_to_caplog("hf_distill.training.function_source"):
            trainer = DistillationTrainer(
                student, FunctionTeacher(count_letters, name=name, retries=1), args,
                train_dataset=texts.select(range(20)), eval_dataset=texts, processing_class=tokenizer,
            )  # fmt: skip
        return trainer.distillation_record()["teacher"]["cost"]

    assert make() == {"texts_asked": num_all, "calls": 3, "texts_from_store": num_train}
    lines = [message for message in caplog.messages if "function was asked" in message]
    assert lines == [
        f"The teacher's function was asked {num_train} texts in 2 calls, and 0 answers came from the store.",
        f"The teacher's function was asked {num_all - num_train} texts in 1 call, and {num_train} answers came from "
        "the store.",
    ]
    again = {"texts_asked": 0, "calls": 0, "texts_from_store": num_train + num_all}
    assert make() == (again if name else {"texts_asked": num_all, "calls": 2, "texts_from_store": num_train})
