"""Rows of files whose `teacher_logits` have no use are refused while they are read."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rows import write, write_json_lines

from hf_distill.data import load_text_dataset, load_transfer_text, stored_logits

BAD = [None, [], [0.5], [0.5, 0.5, 0.5], [0.5, None], [None, None], [math.nan, 1.0], [math.inf, 0.0], [-math.inf] * 2]


def rows_with(logits):
    rows = [{"text": f"film {i}", "label": "ab"[i % 2], "teacher_logits": [i / 9, 1.0]} for i in range(9)]
    rows[4]["teacher_logits"] = logits
    return rows


FAULTS = ["null", "0 numbers", "1 number", "3 numbers", "number 2 is null", "number 1 is null"]
FAULTS += ["number 1 is (nan|null)", "number 1 is inf", "every number is -inf"]


@pytest.mark.parametrize(("logits", "fault"), list(zip(BAD, FAULTS, strict=True)))
def test_the_row_and_its_line_are_named(tmp_path, logits, fault):
    path = write_json_lines(tmp_path / "rows.jsonl", *rows_with(logits))
    place = rf"rows.jsonl, line 5 \(row 5\), column 'teacher_logits': {fault}."
    message = place + " Expected 2 usable numbers, as row 1 has"
    with pytest.raises(ValueError, match=message):
        load_text_dataset(train_file=path, needs_validation=False)
    with pytest.raises(ValueError, match=message):
        load_transfer_text(path)


@pytest.mark.parametrize("logits", BAD)
def test_rows_of_parquet_files_are_checked_too(tmp_path, logits):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows_with(logits)), path)
    with pytest.raises(ValueError, match=r"rows.parquet, row 5, column 'teacher_logits'"):
        load_text_dataset(train_file=path, needs_validation=False)


@pytest.mark.parametrize("logits", [[0.1, "nan"], "[0.1, 0.2]", 0.3, {"a": 1.0}, [[0.1, 1.0]], [10**30, 2]])
def test_a_value_of_another_kind_does_not_take_the_column_away(tmp_path, logits):
    path = write_json_lines(tmp_path / "rows.jsonl", *rows_with(logits))
    with pytest.raises(ValueError, match=r"rows.jsonl.*(line 5|teacher_logits)"):
        load_text_dataset(train_file=path, needs_validation=False)


@pytest.mark.parametrize("logits", [None, 0.5, {"a": 0.5}, ["x", "y"], [True, False]])
def test_whole_columns_of_another_kind_are_refused(tmp_path, logits):
    rows = [{**row, "teacher_logits": logits} for row in rows_with([1.0, 2.0])]
    path = write_json_lines(tmp_path / "rows.jsonl", *rows)
    for load in (lambda: load_text_dataset(train_file=path, needs_validation=False), lambda: load_transfer_text(path)):
        with pytest.raises(ValueError, match="rows.jsonl: `teacher_logits` must have a list of numbers in each row"):
            load()


def test_a_csv_file_cannot_hold_logits(tmp_path):
    path = write(tmp_path / "rows.csv", 'text,label,teacher_logits\na,x,"[0.5, 1.0]"\nb,y,"[0.5, 2.0]"\n')
    with pytest.raises(
        ValueError, match=r"rows.csv: `teacher_logits` must .* kept in Parquet or JSON Lines, not in CSV"
    ):
        load_text_dataset(train_file=path, needs_validation=False)


def test_the_rows_without_numbers_are_named_if_they_are_the_most(tmp_path):
    rows = [{**row, "teacher_logits": [1.0, 2.0] if i in (0, 4) else None} for i, row in enumerate(rows_with(None))]
    path = write_json_lines(tmp_path / "rows.jsonl", *rows)
    with pytest.raises(ValueError, match=r"line 2 \(row 2\), .*, and 6 more rows: null. Expected 2 usable numbers"):
        load_text_dataset(train_file=path, needs_validation=False)


def test_rows_are_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(stored_logits, "_ROWS_AT_ONCE", 2)
    path = write_json_lines(tmp_path / "rows.jsonl", *rows_with([1.0, None]), *rows_with(None))
    with pytest.raises(ValueError, match=r"\(row 5\), .*, and 1 more row: number 2 is null"):
        load_text_dataset(train_file=path, needs_validation=False)


def test_files_with_numbers_of_other_types_are_joined_and_of_other_widths_refused(tmp_path):
    whole = write_json_lines(tmp_path / "whole.jsonl", *[{**row, "teacher_logits": [1, 2]} for row in rows_with(None)])
    part = write_json_lines(tmp_path / "part.jsonl", *rows_with([0.5, 0.5]))
    kind = pa.schema([("text", pa.string()), ("label", pa.string()), ("teacher_logits", pa.list_(pa.float32(), 2))])
    pq.write_table(pa.Table.from_pylist(rows_with([0.5, 0.5]), schema=kind), tmp_path / "fixed.parquet")
    files = [whole, part, tmp_path / "fixed.parquet"]
    task = load_text_dataset(train_file=files, needs_validation=False)
    stored = task.datasets["train"]["teacher_logits"]
    assert (stored[0], stored[13], stored[22]) == ([1.0, 2.0], [0.5, 0.5], [0.5, 0.5])
    assert len(load_transfer_text(files)) == 27
    wide = write_json_lines(tmp_path / "w.jsonl", *[{**row, "teacher_logits": [1, 2, 3]} for row in rows_with(None)])
    for load in (lambda: load_text_dataset(train_file=[part, wide], needs_validation=False),
                 lambda: load_transfer_text([part, wide])):  # fmt: skip
        with pytest.raises(ValueError, match=r"has 2 numbers a row in .*part.jsonl, and 3 in .*w.jsonl"):
            load()


def test_columns_of_fixed_length_and_a_single_infinite_number_are_read(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = rows_with([-math.inf, 0.0])
    kind = pa.schema([("text", pa.string()), ("label", pa.string()), ("teacher_logits", pa.list_(pa.float32(), 2))])
    pq.write_table(pa.Table.from_pylist(rows, schema=kind), path)
    task = load_text_dataset(train_file=path, needs_validation=False)
    assert task.datasets["train"]["teacher_logits"][4] == [-math.inf, 0.0]
    pq.write_table(pa.Table.from_pylist(rows_with(None), schema=kind), path)
    with pytest.raises(ValueError, match=r"row 5, column 'teacher_logits': null. Expected 2 usable numbers"):
        load_text_dataset(train_file=path, needs_validation=False)


def test_several_bad_rows_are_counted_and_a_column_without_numbers_is_refused(tmp_path):
    rows = rows_with([1.0])
    rows[7]["teacher_logits"] = None
    path = write_json_lines(tmp_path / "rows.jsonl", *rows)
    with pytest.raises(ValueError, match=r"\(row 5\), column 'teacher_logits', and 1 more row: 1 number. Expected 2"):
        load_text_dataset(train_file=path, needs_validation=False)
    empty = [{**row, "teacher_logits": []} for row in rows]
    path = write_json_lines(tmp_path / "empty.jsonl", *empty)
    with pytest.raises(
        ValueError, match=r"\(row 1\), column 'teacher_logits', and 8 more rows: 0 numbers. Expected a list"
    ):
        load_text_dataset(train_file=path, needs_validation=False)


def test_logits_of_words_are_not_those_of_a_text(tmp_path):
    rows = [{"tokens": ["a", "b"], "tags": ["O", "B-x"], "teacher_logits": [[0.1, 1.0], [0.2, 2.0]]}] * 3
    path = write_json_lines(tmp_path / "words.jsonl", *rows)
    task = load_text_dataset(train_file=path, needs_validation=False)
    assert task.datasets["train"]["teacher_logits"][0] == [[0.1, 1.0], [0.2, 2.0]]
