"""Rows that the teacher can tell apart never share an answer, and rows that it cannot are computed once."""

import copy
import json
import shutil

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from tiny import TINY, tiny_gpt2, tiny_model, tiny_tokenizer, visible_to_caplog
from transformers import (
    BertConfig,
    BertForTokenClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from hf_distill import TeacherCache
from hf_distill.cache.fingerprint import constant_weights, hash_weights
from hf_distill.cache.store import SUFFIX, checksum
from hf_distill.classifiers.outputs import TEACHER_LOGITS

IDS = [2, 7, 9, 11, 8, 3]


@pytest.fixture
def cache(tmp_path, teacher, tokenizer):
    return TeacherCache(tmp_path / "cache", teacher, tokenizer)


def test_weights_that_are_declared_constant_are_hashed_again_after_the_block(teacher):
    before = hash_weights(teacher)
    with constant_weights(teacher):
        assert hash_weights(copy.deepcopy(teacher)) == hash_weights(teacher) == before
        with torch.no_grad():
            teacher.classifier.bias.add_(1.0)
        assert hash_weights(teacher) == before
        assert hash_weights(copy.deepcopy(teacher)) != before
    assert hash_weights(teacher) != before


def rows_of(*rows):
    return datasets.Dataset.from_list(list(rows))


def logits_of(dataset):
    return np.array(dataset.with_format("numpy")[TEACHER_LOGITS][:])


def live(model, row):
    with torch.no_grad():
        return model.eval()(**{name: torch.tensor([values]) for name, values in row.items()}).logits[0].numpy()


def label(cache, row):
    return logits_of(cache.label(rows_of(row)))[0]


# ---- Keys ----


@pytest.mark.parametrize(
    "other",
    [
        {"attention_mask": [1, 1, 0, 1, 1, 1]},
        {"attention_mask": [True, True, True, True, False, True]},
        {"position_ids": [0, 1, 2, 5, 6, 7]},
        {"position_ids": [5, 4, 3, 2, 1, 0]},
        {"token_type_ids": [0, 0, 0, 1, 1, 1]},
        {"attention_mask": [1, 1, 1, 1, 1, 0]},
    ],
)
def test_rows_that_differ_in_a_column_that_the_teacher_reads_have_their_own_answers(cache, teacher, other):
    for row in ({"input_ids": IDS}, {"input_ids": IDS, **other}):
        assert np.allclose(label(cache, row), live(teacher, row), atol=1e-5)
    assert cache.num_computed == 2


@pytest.mark.parametrize(
    "same",
    [
        {"attention_mask": [1] * 6},
        {"attention_mask": [1.0] * 6},
        {"attention_mask": [True] * 6},
        {"token_type_ids": [0] * 6},
        {"position_ids": [0, 1, 2, 3, 4, 5]},
        {"labels": 2, "row_id": 17},
        {"input_ids": [*IDS, 0, 0], "attention_mask": [1] * 6 + [0] * 2},
        {"input_ids": [*IDS, 9], "attention_mask": [1] * 6 + [0], "token_type_ids": [0] * 6 + [1]},
        {"input_ids": [0, 0, *IDS, 0], "attention_mask": [0, 0] + [1] * 6 + [0]},
        {"input_ids": [0, *IDS], "attention_mask": [0] + [1] * 6, "position_ids": [9, 0, 1, 2, 3, 4, 5]},
    ],
)
def test_rows_that_the_teacher_cannot_tell_apart_are_computed_once(cache, same):
    expected = label(cache, {"input_ids": IDS})
    assert np.array_equal(label(cache, {"input_ids": IDS, **same}), expected)
    assert cache.num_computed == 1


def test_the_key_of_a_row_does_not_depend_on_the_other_rows(cache):
    weights = [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    label(cache, {"input_ids": IDS, "attention_mask": weights})
    both = rows_of(
        {"input_ids": IDS, "attention_mask": weights}, {"input_ids": IDS[1:], "attention_mask": [0.5] + [1.0] * 4}
    )
    cache.label(both)
    assert cache.num_computed == 2


def test_a_column_of_vectors_is_part_of_the_key(tmp_path, teacher, tokenizer):
    class Layout(type(teacher)):
        """Adds the first coordinate of the box of each token to its answer."""

        def forward(self, input_ids, bbox, attention_mask=None):
            outputs = super().forward(input_ids=input_ids, attention_mask=attention_mask)
            outputs.logits = outputs.logits + bbox[..., 0].sum(dim=1, keepdim=True)
            return outputs

    teacher.__class__ = Layout
    cache = TeacherCache(tmp_path, teacher, tokenizer)
    boxes = [[[1, 2, 3, 4]] * 6, [[5, 2, 3, 4]] * 6, [[1, 2, 3, 4]] * 5 + [[1, 2, 3, 5]]]
    rows = [{"input_ids": IDS, "bbox": box} for box in boxes] + [{"input_ids": IDS[:4], "bbox": boxes[0][:4]}]
    answers = logits_of(cache.label(rows_of(*rows)))
    assert np.allclose(answers, [live(teacher, row) for row in rows], atol=1e-5)
    assert np.allclose(answers[1] - answers[0], 24.0, atol=1e-4)
    assert cache.num_computed == 4


def test_position_ids_from_zero_are_not_the_default_of_roberta(tmp_path, tokenizer):
    model = RobertaForSequenceClassification(RobertaConfig(**TINY, num_hidden_layers=2, num_labels=3)).eval()
    cache = TeacherCache(tmp_path, model, tokenizer)
    for row in ({"input_ids": IDS}, {"input_ids": IDS, "position_ids": list(range(6))}):
        assert np.allclose(label(cache, row), live(model, row), atol=1e-5)
    assert cache.num_computed == 2


def test_segment_ids_of_zeros_are_not_the_default_of_gpt2(tmp_path, tokenizer):
    model = tiny_gpt2()
    cache = TeacherCache(tmp_path, model, tokenizer)
    for row in ({"input_ids": IDS}, {"input_ids": IDS, "token_type_ids": [0] * 6}):
        assert np.allclose(label(cache, row), live(model, row), atol=1e-5)
    assert cache.num_computed == 2


@pytest.mark.parametrize("column", ["attention_mask", "input_ids"])
def test_a_row_without_a_value_is_refused_with_its_number(cache, column):
    rows = [{"input_ids": IDS, "attention_mask": [1] * 6}] * 3
    with pytest.raises(ValueError, match=f"Row 1 has no value in the column `{column}`"):
        cache.label(rows_of(rows[0], {**rows[1], column: None}, rows[2]))


@pytest.mark.parametrize("column", ["attention_mask", "token_type_ids"])
def test_a_column_with_too_few_values_is_refused_with_its_row(cache, column):
    rows = rows_of({"input_ids": IDS, column: [1] * 6}, {"input_ids": IDS[1:], column: [1] * 4})
    with pytest.raises(ValueError, match=f"Row 1 has 5 token ids and 4 values in `{column}`"):
        cache.label(rows)


@pytest.mark.parametrize(
    "kind",
    [
        datasets.List(datasets.Value("int8"), length=6),
        datasets.LargeList(datasets.Value("int32")),
        datasets.List(datasets.Value("uint16")),
    ],
)
def test_the_type_of_a_column_is_not_part_of_the_key(cache, kind):
    expected = label(cache, {"input_ids": IDS, "attention_mask": [1] * 6})
    rows = rows_of({"input_ids": IDS, "attention_mask": [1] * 6})
    features = datasets.Features({"input_ids": kind, "attention_mask": kind})
    for dataset in (rows.cast(features), rows.cast(features).with_format("torch"), rows.with_format("numpy")):
        assert np.array_equal(logits_of(cache.label(dataset))[0], expected)
    assert cache.num_computed == 1


def test_a_dataset_without_rows_gets_an_empty_column(cache, dataset):
    labelled = cache.label(dataset.select([]))
    assert labelled.num_rows == 0
    assert labelled.features[TEACHER_LOGITS] == cache.cached_output.features()[TEACHER_LOGITS]


def test_a_column_that_is_not_numbers_is_refused_by_name(cache):
    with pytest.raises(ValueError, match="the column `position_ids`"):
        cache.label(rows_of({"input_ids": IDS, "position_ids": ["a"] * 6}))


# ---- Padding ----


@pytest.mark.parametrize("make", [lambda: tiny_model(2, seed=1), tiny_gpt2])
@pytest.mark.parametrize("side", ["left", "right"])
def test_stored_answers_do_not_depend_on_padding(tmp_path, dataset, make, side):
    tokenizer, model = tiny_tokenizer(), make()
    tokenizer.padding_side = side
    labelled = TeacherCache(tmp_path, model, tokenizer).label(dataset)
    names = ("input_ids", "token_type_ids", "attention_mask")
    for row, answer in zip(dataset, logits_of(labelled), strict=True):
        assert np.allclose(answer, live(model, {name: row[name] for name in names}), atol=1e-4)


def test_a_padded_row_of_tokens_has_a_value_for_each_of_its_positions(tmp_path, tokenizer):
    model = BertForTokenClassification(BertConfig(**TINY, num_hidden_layers=2, num_labels=3)).eval()
    rows = [
        {"input_ids": IDS, "attention_mask": [1] * 6},
        {"input_ids": [*IDS, 0, 0], "attention_mask": [1] * 6 + [0] * 2},
        {"input_ids": [0, *IDS], "attention_mask": [0] + [1] * 6},
        {"input_ids": IDS, "attention_mask": [1, 1, 0, 1, 1, 1]},
    ]
    cache = TeacherCache(tmp_path, model, tokenizer)
    labelled = cache.label(rows_of(*rows))
    whole, right, left, inside = (np.array(values) for values in labelled[TEACHER_LOGITS][:])
    assert cache.num_computed == 2
    assert np.allclose(whole, live(model, rows[0]), atol=1e-5)
    assert np.array_equal(right, np.concatenate([whole, np.zeros((2, 3))]))
    assert np.array_equal(left, np.concatenate([np.zeros((1, 3)), whole]))
    assert np.allclose(inside, live(model, rows[3]), atol=1e-5)


# ---- A teacher that changes ----


def adapted(model):
    settings = LoraConfig(task_type=TaskType.SEQ_CLS, target_modules=["query", "value"], r=2, lora_alpha=8)
    model = get_peft_model(copy.deepcopy(model), settings)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(len(name)))
    return model.eval()


def rescale(model):
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.set_scale("default", 0.25)


CHANGES = {
    "disabled": lambda model: model.base_model.disable_adapter_layers(),
    "rescaled": rescale,
    "merged": lambda model: model.merge_adapter(),
    "another weight": lambda model: model.base_model.model.classifier.modules_to_save["default"].bias.data.add_(1.0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_adapter_that_changes_after_rows_were_labelled_is_asked_again(tmp_path, teacher, tokenizer, change):
    model, row = adapted(teacher), {"input_ids": IDS}
    cache = TeacherCache(tmp_path, model, tokenizer)
    before = label(cache, row)
    CHANGES[change](model)
    after = label(cache, row)
    assert np.allclose(after, live(model, row), atol=1e-4)
    assert cache.num_computed == 2
    if change != "merged":
        assert np.abs(after - before).max() > 0.1
    again = TeacherCache(tmp_path, model, tokenizer)
    assert np.array_equal(label(again, row), after)
    assert again.num_computed == 0


# ---- Files of another teacher or format ----


def other_cache(tmp_path, tokenizer):
    return TeacherCache(tmp_path / "cache", tiny_model(4, seed=9), tokenizer)


def warnings_of_store(caplog, make):
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.cache.store"):
        made = make()
    return made, caplog.text


def test_files_of_another_teacher_are_not_read(cache, tmp_path, teacher, tokenizer, dataset, caplog):
    other = other_cache(tmp_path, tokenizer)
    other.label(dataset)
    for path in other.folder.rglob("*.arrow"):
        target = cache.folder / path.relative_to(other.folder)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    again, warnings = warnings_of_store(caplog, lambda: TeacherCache(tmp_path / "cache", teacher, tokenizer))
    assert "Shards of another teacher" in warnings
    answers = logits_of(again.label(dataset))
    names = ("input_ids", "token_type_ids")
    assert again.num_computed == 32
    assert np.allclose(answers[5], live(teacher, {name: dataset[5][name] for name in names}), atol=1e-5)


def test_a_column_of_another_teacher_under_the_right_name_is_written_again(cache, tmp_path, tokenizer, dataset):
    expected = logits_of(cache.label(dataset))
    (column,) = (cache.folder / "columns").iterdir()
    other = other_cache(tmp_path, tokenizer)
    other.label(dataset)
    (foreign,) = (other.folder / "columns").iterdir()
    shutil.copy(foreign, column.with_name(f"{column.name.split('-')[0]}-{checksum(foreign)}.arrow"))
    column.unlink()
    assert np.array_equal(logits_of(cache.label(dataset)), expected)


def test_a_column_of_other_rows_under_the_right_name_is_written_again(cache, dataset):
    expected = logits_of(cache.label(dataset))
    (column,) = (cache.folder / "columns").iterdir()
    cache.label(dataset.select(range(31, -1, -1)))
    (reversed_rows,) = set((cache.folder / "columns").iterdir()) - {column}
    shutil.copy(reversed_rows, column.with_name(f"{column.name.split('-')[0]}-{checksum(reversed_rows)}.arrow"))
    column.unlink()
    assert np.array_equal(logits_of(cache.label(dataset)), expected)


def rewrite_shard(folder, change):
    """Write other rows under a name that is the checksum of the new file."""
    (path,) = folder.glob(f"*{SUFFIX}")
    batch = pa.ipc.open_file(pa.OSFile(str(path))).get_batch(0)
    batch = change(batch)
    path.unlink()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    path.rename(folder / (checksum(path) + SUFFIX))


def with_values(rows):
    def change(batch):
        values = pa.array(rows * len(batch), pa.list_(pa.float32()))
        return pa.RecordBatch.from_arrays([batch["key"], values], schema=batch.schema)

    return change


BAD_ROWS = {
    "instead of 3": [[1.0, 2.0]],
    "5 values": [[1.0] * 5],
    "0 values": [[]],
    "NaN": [[1.0, float("nan"), 0.0]],
    "inf": [[1.0, float("inf"), 0.0]],
    "no finite number": [[float("-inf")] * 3],
    "no values": [None],
}


@pytest.mark.parametrize("problem", BAD_ROWS)
def test_rows_that_no_teacher_writes_are_refused_under_a_right_checksum(
    cache, tmp_path, teacher, tokenizer, dataset, caplog, problem
):
    expected = logits_of(cache.label(dataset))
    rewrite_shard(cache.folder, with_values(BAD_ROWS[problem]))
    shutil.rmtree(cache.folder / "columns")
    again, warnings = warnings_of_store(caplog, lambda: TeacherCache(tmp_path / "cache", teacher, tokenizer))
    assert "is damaged" in warnings
    assert problem in warnings
    assert np.array_equal(logits_of(again.label(dataset)), expected)
    assert again.num_computed == 32


def test_a_row_with_a_forbidden_class_is_stored_and_read(tmp_path, teacher, tokenizer):
    teacher.classifier.bias.data[1] = -torch.inf
    teacher.classifier.register_forward_hook(lambda module, inputs, output: output + torch.tensor([0, -torch.inf, 0]))
    teacher.classifier.bias.data[1] = 0.0
    first = label(TeacherCache(tmp_path, teacher, tokenizer), {"input_ids": IDS})
    again = TeacherCache(tmp_path, teacher, tokenizer)
    assert np.array_equal(label(again, {"input_ids": IDS}), first)
    assert np.isneginf(first).tolist() == [False, True, False]
    assert again.num_computed == 0


def test_a_column_with_nan_under_a_right_checksum_is_written_again(cache, dataset):
    expected = logits_of(cache.label(dataset))
    (column,) = (cache.folder / "columns").iterdir()
    table = pa.ipc.open_stream(pa.OSFile(str(column))).read_all()
    numbers = np.full(96, np.nan, np.float32)
    values = pa.FixedSizeListArray.from_arrays(pa.array(numbers), 3).cast(table.schema.types[0])
    with pa.OSFile(str(column), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(pa.table([values], schema=table.schema))
    column.rename(column.with_name(f"{column.name.split('-')[0]}-{checksum(column)}.arrow"))
    assert np.array_equal(logits_of(cache.label(dataset)), expected)


def test_a_store_of_an_older_format_is_computed_again_and_said_in_one_line(
    cache, tmp_path, teacher, tokenizer, dataset, caplog
):
    expected = logits_of(cache.label(dataset))
    rewrite_shard(cache.folder, lambda batch: batch.replace_schema_metadata(None))
    metadata = json.loads((cache.folder / "teacher.json").read_text())
    assert metadata.pop("format") == 2
    (cache.folder / "teacher.json").write_text(json.dumps(metadata))
    shutil.rmtree(cache.folder / "columns")
    again, warnings = warnings_of_store(caplog, lambda: TeacherCache(tmp_path / "cache", teacher, tokenizer))
    assert warnings.count("older format") == 1
    assert np.array_equal(logits_of(again.label(dataset)), expected)
    assert again.num_computed == 32
    assert json.loads((cache.folder / "teacher.json").read_text())["format"] == 2
