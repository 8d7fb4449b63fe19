"""The teacher runs once for each distinct text, after changes of the rows, a killed process and a damaged disk."""

import copy
import json
import math
import os
import resource
import signal
import time

import datasets
import numpy as np
import pytest
import torch
from forked import run_forked, start_forked
from invariance import make_trainer
from tiny import tiny_dataset, tiny_model, tiny_tokenizer, visible_to_caplog
from transformers import BertConfig, BertForTokenClassification

from hf_distill import DistillationTrainer, TeacherCache
from hf_distill.cache import output_cache, teacher_cache
from hf_distill.cache.fingerprint import fingerprint
from hf_distill.cache.store import KEY, Store


@pytest.fixture
def cache(tmp_path, teacher, tokenizer):
    return TeacherCache(tmp_path / "cache", teacher, tokenizer)


def live_logits(teacher, tokenizer, rows):
    batch = tokenizer.pad([{k: r[k] for k in tokenizer.model_input_names} for r in rows], return_tensors="pt")
    with torch.no_grad():
        return teacher(**batch).logits.numpy()


def logits_of(dataset):
    return np.array(dataset.with_format("numpy")["teacher_logits"][:])


def test_labelled_rows_contain_the_logits_of_the_live_teacher(cache, teacher, tokenizer, dataset):
    labelled = cache.label(dataset)
    assert np.allclose(logits_of(labelled), live_logits(teacher, tokenizer, dataset), atol=1e-5)
    assert labelled.features["teacher_logits"] == datasets.List(datasets.Value("float32"), length=3)
    assert labelled.column_names == [*dataset.column_names, "teacher_logits"]
    assert labelled["text"][:] == dataset["text"][:]


def test_shuffled_filtered_repeated_and_added_rows_are_found(cache, teacher, tokenizer, dataset):
    cache.label(dataset)
    before = cache.num_computed
    changed = datasets.concatenate_datasets([dataset.shuffle(seed=1), dataset.select(range(5)), dataset.select([9])])
    assert np.allclose(logits_of(cache.label(changed)), live_logits(teacher, tokenizer, changed), atol=1e-5)
    assert cache.num_computed == before
    added = datasets.concatenate_datasets([dataset, tiny_dataset(tokenizer, 7, seed=99)])
    assert np.allclose(logits_of(cache.label(added)), live_logits(teacher, tokenizer, added), atol=1e-5)
    assert cache.num_computed == before + 7


def test_a_repeated_text_is_computed_once(cache, dataset):
    cache.label(datasets.concatenate_datasets([dataset.select([3])] * 10))
    assert cache.num_computed == 1


def test_a_later_run_uses_the_stored_outputs(cache, tmp_path, teacher, tokenizer, dataset):
    cache.label(dataset)
    teacher.config.name_or_path, teacher.config.problem_type = "elsewhere", "single_label_classification"
    teacher.train()
    again = TeacherCache(tmp_path / "cache", copy.deepcopy(teacher), tokenizer)
    again.label(dataset)
    assert again.num_computed == 0


def test_segment_ids_are_part_of_the_key(cache, dataset):
    single = dataset.map(lambda row: {"token_type_ids": [0] * len(row["input_ids"])})
    cache.label(dataset)
    cache.label(single)
    assert cache.num_computed == 64
    cache.label(single.remove_columns("token_type_ids"))  # missing segment ids mean zeros
    assert cache.num_computed == 64


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.classifier.bias.data.add_(1e-6),
        lambda model: setattr(model.config, "hidden_act", "relu"),
    ],
    ids=["weights", "config"],
)
def test_a_changed_teacher_has_another_fingerprint(teacher, change):
    before, _ = fingerprint(teacher, "float32")
    assert fingerprint(copy.deepcopy(teacher), "float32")[0] == before
    change(teacher)
    assert fingerprint(teacher, "float32")[0] != before


def test_the_precision_is_part_of_the_fingerprint(teacher):
    assert fingerprint(teacher, "float32")[0] != fingerprint(teacher, "bfloat16")[0]


def test_teacher_json_describes_the_teacher(cache):
    metadata = json.loads((cache.folder / "teacher.json").read_text())
    assert metadata["dtype"] == "float32"
    assert metadata["teacher"]["num_hidden_layers"] == 4
    assert len(metadata["weights_sha256"]) == 64


def test_the_callers_model_is_unchanged_and_on_its_device(cache, teacher, dataset):
    weights = copy.deepcopy(teacher.state_dict())
    cache.label(dataset)
    assert all(torch.equal(weights[name], value) for name, value in teacher.state_dict().items())
    assert teacher.device.type == "cpu"


@pytest.mark.parametrize("damage", ["truncate", "flip a bit"])
def test_a_damaged_shard_is_reported_and_its_rows_are_computed_again(
    cache, tmp_path, teacher, tokenizer, dataset, caplog, damage
):
    expected = logits_of(cache.label(dataset))
    (shard,) = cache.folder.glob("*.arrow")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 4
    shard.write_bytes(content[:-100] if damage == "truncate" else content)
    for column in (cache.folder / "columns").iterdir():
        column.unlink()
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.cache.store"):
        again = TeacherCache(tmp_path / "cache", teacher, tokenizer)
    assert shard.name in caplog.text
    assert "damaged" in caplog.text
    assert np.array_equal(logits_of(again.label(dataset)), expected)
    assert again.num_computed == 32


def test_float16_on_disk_only_reduces_the_precision(tmp_path, teacher, tokenizer, dataset):
    cache = TeacherCache(tmp_path, teacher, tokenizer, stored_dtype="float16")
    labelled = cache.label(dataset)
    assert labelled.features["teacher_logits"].feature.dtype == "float16"
    stored = labelled.with_format("torch")["teacher_logits"][:].float().numpy()
    assert np.allclose(stored, live_logits(teacher, tokenizer, dataset), rtol=1e-3, atol=1e-3)


def test_a_full_disk_is_a_clear_error_and_leaves_a_valid_store(tmp_path):
    store = Store(tmp_path)
    keys = np.frombuffer(os.urandom(16 * 4), KEY)
    store.append(keys, [np.zeros(2, np.float32)] * 4)

    def fill_the_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        store.append(np.frombuffer(os.urandom(16 * 4096), KEY), [np.zeros(2, np.float32)] * 4096)

    done = run_forked(fill_the_disk)
    assert done.returncode != 0
    assert "The disk is full. 4 rows of the teacher's outputs are stored" in done.stderr
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".arrow"]
    store = Store(tmp_path)
    assert len(store) == 4
    assert (store.find(keys)[:, 0] >= 0).all()


def test_two_writers_on_one_folder_do_not_disturb_each_other(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    keys = np.frombuffer(os.urandom(16 * 6), KEY)
    first.append(keys[:4], [np.full(2, i, np.float32) for i in range(4)])
    second.append(keys[2:], [np.full(2, i, np.float32) for i in range(2, 6)])
    for store in (first, second):
        store.refresh()
        assert len(store) == 6
        assert store.rows(store.find(keys[::-1])).to_pylist() == [[float(i)] * 2 for i in range(5, -1, -1)]


def test_a_killed_run_loses_at_most_the_shard_that_is_being_filled(tmp_path, tokenizer, monkeypatch):
    rows = tiny_dataset(tokenizer, 1000)

    def label_slowly():
        output_cache.ROWS_PER_SHARD, teacher_cache.MAX_TOKENS = 64, 100
        TeacherCache(tmp_path / "cache", tiny_model(4, seed=1), tokenizer).label(rows)

    running = start_forked(label_slowly, tmp_path)
    deadline = time.time() + 60
    while len(list(tmp_path.glob("cache/*/*.arrow"))) < 3 and time.time() < deadline:
        time.sleep(0.02)
    running.kill()
    running.join()
    monkeypatch.setattr(output_cache, "ROWS_PER_SHARD", 4096)
    cache = TeacherCache(tmp_path / "cache", tiny_model(4, seed=1), tokenizer)
    stored = len(cache.store)
    assert stored >= 3 * 64
    labelled = cache.label(rows)
    distinct = len({(tuple(row["input_ids"]), tuple(row["token_type_ids"])) for row in rows})
    assert cache.num_computed == distinct - stored > 0
    some = rows.select(range(0, 1000, 100))
    expected = live_logits(tiny_model(4, seed=1), tokenizer, some)
    assert np.allclose(logits_of(labelled.select(range(0, 1000, 100))), expected, atol=1e-4)


def test_training_with_the_cache_equals_training_with_the_live_teacher(tmp_path, student, teacher, dataset, tokenizer):
    live, cached = (
        make_trainer(
            student, teacher, dataset, tokenizer, tmp_path / "out", per_device_train_batch_size=8, num_train_epochs=2,
            cache_teacher_outputs=cached, teacher_cache_dir=str(tmp_path / "cache"),
        )
        for cached in (False, True)
    )  # fmt: skip
    for trainer in (live, cached):
        trainer.train()
    for a, b in zip(live.state.log_history, cached.state.log_history, strict=True):
        for name in ("loss", "loss_kl", "loss_ce"):
            assert a.get(name, 0.0) == pytest.approx(b.get(name, 0.0), rel=1e-5)
    assert cached.teaching.caches[0].num_computed == 32  # training and evaluation rows are the same
    unseen = tiny_dataset(tokenizer, 9, seed=123)
    assert cached.evaluate(unseen)["eval_loss"] == pytest.approx(live.evaluate(unseen)["eval_loss"], rel=1e-5)
    assert cached.teaching.caches[0].num_computed == 41
    assert cached.distillation_record()["teacher"]["num_hidden_layers"] == 4


def test_cached_classes_in_another_order_are_aligned_by_name(tmp_path, student, teacher, dataset, tokenizer):
    order = [2, 0, 1]
    permuted = copy.deepcopy(teacher)
    with torch.no_grad():
        permuted.classifier.weight.copy_(teacher.classifier.weight[order])
        permuted.classifier.bias.copy_(teacher.classifier.bias[order])
    permuted.config.id2label = {i: teacher.config.id2label[j] for i, j in enumerate(order)}
    expected = make_trainer(student, teacher, dataset, tokenizer, tmp_path / "out").evaluate()["eval_loss_kl"]
    trainer = make_trainer(
        student, permuted, dataset, tokenizer, tmp_path / "out", cache_teacher_outputs=True,
        teacher_cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    assert trainer.evaluate()["eval_loss_kl"] == pytest.approx(expected, rel=1e-5)


def test_a_cache_needs_a_tokenizer(tmp_path, student, teacher, dataset):
    from invariance import make_args

    args = make_args(tmp_path, cache_teacher_outputs=True)
    with pytest.raises(ValueError, match="needs `processing_class`"):
        DistillationTrainer(student, teacher, args, train_dataset=dataset)


def test_rows_without_token_ids_are_rejected(cache, dataset):
    with pytest.raises(ValueError, match="no column `input_ids`"):
        cache.label(dataset.remove_columns("input_ids"))


def test_a_teacher_can_be_given_as_a_path(tmp_path, teacher, dataset):
    teacher.save_pretrained(tmp_path / "teacher")
    cache = TeacherCache(tmp_path / "cache", tmp_path / "teacher", tiny_tokenizer())
    from_model = TeacherCache(tmp_path / "cache", teacher, tiny_tokenizer())
    assert cache.folder == from_model.folder
    cache.label(dataset)
    from_model.label(dataset)
    assert (cache.num_computed, from_model.num_computed) == (32, 0)


def test_a_teacher_given_as_a_path_is_not_loaded_again_for_stored_rows(tmp_path, teacher, dataset, monkeypatch):
    teacher.save_pretrained(tmp_path / "teacher")
    loaded = []
    load = teacher_cache.load_teacher
    monkeypatch.setattr(teacher_cache, "load_teacher", lambda path: loaded.append(path) or load(path))
    cache = TeacherCache(tmp_path / "cache", tmp_path / "teacher", tiny_tokenizer())
    for _ in range(3):
        cache.label(dataset)
    assert len(loaded) == 1


def tiny_tagger():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=80, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37, num_labels=5
    )
    return BertForTokenClassification(config).eval()


def test_token_logits_have_one_row_per_token(tmp_path, tokenizer, dataset):
    tagger = tiny_tagger()
    rows = dataset.select([3, 1, 3, 20])
    labelled = TeacherCache(tmp_path, tagger, tokenizer).label(rows)
    assert labelled.features["teacher_logits"] == datasets.List(datasets.List(datasets.Value("float32"), length=5))
    for row in labelled:
        inputs = {name: torch.tensor([row[name]]) for name in ("input_ids", "token_type_ids")}
        with torch.no_grad():
            expected = tagger(**inputs).logits[0]
        assert len(row["teacher_logits"]) == len(row["input_ids"])
        assert torch.allclose(torch.tensor(row["teacher_logits"]), expected, atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
def test_cls_states_are_the_states_of_the_first_token_in_every_layer(tmp_path, teacher, dataset, side):
    tokenizer = tiny_tokenizer()
    tokenizer.padding_side = side
    teacher.bert.embeddings.position_embeddings.weight.data.zero_()  # padding on the left moves the positions
    cache = TeacherCache(tmp_path, teacher, tokenizer, outputs="cls_states")
    labelled = cache.label(dataset)
    assert cache.folder != TeacherCache(tmp_path, teacher, tokenizer).folder
    for row in labelled.select(range(0, 32, 6)).with_format("torch"):
        inputs = {name: row[name][None] for name in ("input_ids", "token_type_ids")}
        with torch.no_grad():
            states = teacher(**inputs, output_hidden_states=True).hidden_states
        expected = torch.stack([layer[0, 0] for layer in states])
        assert row["teacher_cls_states"].shape == expected.shape == (5, 16)
        assert torch.allclose(row["teacher_cls_states"], expected, atol=1e-5)


def test_the_error_for_a_nan_output_shows_the_text(tmp_path, teacher, tokenizer, dataset):
    broken = int(dataset[7]["input_ids"][1])
    cache = TeacherCache(tmp_path, teacher, tokenizer)
    cache._model().bert.embeddings.word_embeddings.register_forward_hook(
        lambda module, inputs, output: output.masked_fill((inputs[0] == broken)[..., None], math.nan)
    )
    with pytest.raises(FloatingPointError, match=tokenizer.decode([broken])):
        cache.label(dataset)


@pytest.mark.parametrize("changes", [{"outputs": "attentions"}, {"stored_dtype": "int8"}])
def test_outputs_that_cannot_be_stored_are_rejected(tmp_path, teacher, tokenizer, changes):
    with pytest.raises(ValueError, match="must be one of logits, cls_states"):
        TeacherCache(tmp_path, teacher, tokenizer, **changes)
