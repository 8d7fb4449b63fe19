"""Rows of files whose `teacher_logits` have no use are refused while they are read."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rows import write_json_lines

from hf_distill.data import load_text_dataset, load_transfer_text

BAD = [None, [], [0.5], [0.5, 0.5, 0.5], [0.5, None], [None, None], [math.nan, 1.0], [math.inf, 0.0], [-math.inf] * 2]


def rows_with(logits):
    rows = [{"text": f"film {i}", "label": "ab"[i % 2], "teacher_logits": [i / 9, 1.0]} for i in range(9)]
    rows[4]["teacher_logits"] = logits
    return rows


@pytest.mark.parametrize("logits", BAD)
def test_the_row_and_its_line_are_named(tmp_path, logits):
    path = write_json_lines(tmp_path / "rows.jsonl", *rows_with(logits))
    message = r"rows.jsonl, line 5 \(row 5\), column 'teacher_logits': .* Expected 2 usable numbers"
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


def test_columns_of_fixed_length_and_a_single_infinite_number_are_read(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = rows_with([-math.inf, 0.0])
    kind = pa.schema([("text", pa.string()), ("label", pa.string()), ("teacher_logits", pa.list_(pa.float32(), 2))])
    pq.write_table(pa.Table.from_pylist(rows, schema=kind), path)
    task = load_text_dataset(train_file=path, needs_validation=False)
    assert task.datasets["train"]["teacher_logits"][4] == [-math.inf, 0.0]
    pq.write_table(pa.Table.from_pylist(rows_with(None), schema=kind), path)
    with pytest.raises(ValueError, match=r"row 5, column 'teacher_logits': None. Expected 2 usable numbers"):
        load_text_dataset(train_file=path, needs_validation=False)


def test_several_bad_rows_are_counted_and_a_column_without_numbers_is_refused(tmp_path):
    rows = rows_with([1.0])
    rows[7]["teacher_logits"] = None
    path = write_json_lines(tmp_path / "rows.jsonl", *rows)
    with pytest.raises(ValueError, match=r"\(row 5\), column 'teacher_logits', and 1 more row: \[1.0\]"):
        load_text_dataset(train_file=path, needs_validation=False)
    empty = [{**row, "teacher_logits": []} for row in rows]
    path = write_json_lines(tmp_path / "empty.jsonl", *empty)
    with pytest.raises(
        ValueError, match=r"\(row 1\), column 'teacher_logits', and 8 more rows: \[\]. Expected a list"
    ):
        load_text_dataset(train_file=path, needs_validation=False)


def test_logits_of_words_are_not_those_of_a_text(tmp_path):
    rows = [{"tokens": ["a", "b"], "tags": ["O", "B-x"], "teacher_logits": [[0.1, 1.0], [0.2, 2.0]]}] * 3
    path = write_json_lines(tmp_path / "words.jsonl", *rows)
    task = load_text_dataset(train_file=path, needs_validation=False)
    assert task.datasets["train"]["teacher_logits"][0] == [[0.1, 1.0], [0.2, 2.0]]
