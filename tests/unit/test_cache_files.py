"""What lies in a store: rows that are counted right, no user's texts, no leftovers, and nothing that could do harm."""

import contextlib
import errno
import os
import shutil
import signal
import stat
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tiny import tiny_dataset, tiny_model, tiny_tokenizer

import hf_distill.utils.atomic as files
from hf_distill import TeacherCache
from hf_distill.cache import output_cache
from hf_distill.cache.store import KEY, SUFFIX, Store, checksum
from hf_distill.classifiers.outputs import TEACHER_LOGITS

DAY = 86_400


@pytest.fixture
def cache(tmp_path, teacher, tokenizer):
    return TeacherCache(tmp_path / "cache", teacher, tokenizer)


def make_old(path, days):
    os.utime(path, (time.time() - days * DAY,) * 2)


# ---- A full disk ----


def test_a_full_disk_says_how_many_rows_are_stored(cache, dataset, monkeypatch):
    monkeypatch.setattr(output_cache, "ROWS_PER_SHARD", 8)
    num_flushed = 0
    flush = os.fsync

    def fill_after_two_shards(descriptor):
        nonlocal num_flushed
        num_flushed += 1
        if num_flushed > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr("hf_distill.cache.teacher_cache.MAX_TOKENS", 60)
    monkeypatch.setattr(files.os, "fsync", fill_after_two_shards)
    with pytest.raises(OSError, match="disk is full") as error:
        cache.label(dataset)
    num_stored = len(Store(cache.folder))
    assert num_stored >= 16
    assert f"{num_stored} rows of the teacher's outputs are stored" in str(error.value)


# ---- A folder that cannot be written ----


@contextlib.contextmanager
def as_a_reader(folder):
    """Run as a user who can read a folder and not write into it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        assert not os.access(folder, os.W_OK, effective_ids=True)
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def shared():
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_store_that_cannot_be_written_serves_its_rows_in_any_order(shared, teacher, tokenizer, dataset):
    expected = TeacherCache(shared, teacher, tokenizer).label(dataset)[TEACHER_LOGITS][:]
    before = sorted(path.name for path in shared.rglob("*"))
    with as_a_reader(shared):
        cache = TeacherCache(shared, teacher, tokenizer)
        for order in ([3, 1, 2], [9, 9, 0], list(range(31, -1, -1)), list(range(32))):
            assert cache.label(dataset.select(order))[TEACHER_LOGITS][:] == [expected[i] for i in order]
        assert cache.num_computed == 0
        with pytest.raises(PermissionError):
            cache.label(tiny_dataset(tokenizer, 4, seed=99))
    assert sorted(path.name for path in shared.rglob("*")) == before


def test_a_damaged_shard_in_a_folder_that_cannot_be_written_is_passed_by(shared, teacher, tokenizer, dataset):
    cache = TeacherCache(shared, teacher, tokenizer)
    cache.label(dataset)
    (shard,) = cache.folder.glob(f"*{SUFFIX}")
    shard.write_bytes(shard.read_bytes()[:-9])
    with as_a_reader(shared):
        assert len(Store(cache.folder)) == 0
    assert shard.exists()


# ---- Users' texts, and leftovers ----


def test_no_text_of_a_user_lands_in_the_store(cache, tokenizer):
    rows = tiny_dataset(tokenizer, 6, seed=5)
    in_memory = type(rows).from_list(list(rows), features=rows.features)
    for dataset in (rows, in_memory):
        labelled = cache.label(dataset)
        marked = labelled.map(lambda row: {"text": f"a secret text: {row['text']}"})
        assert marked[TEACHER_LOGITS][:] == labelled[TEACHER_LOGITS][:]
        labelled.filter(lambda row: True)
        labelled.shuffle(seed=0).flatten_indices()
    content = b"".join(path.read_bytes() for path in cache.folder.rglob("*") if path.is_file())
    assert b"a secret text" not in content
    assert not list(cache.folder.rglob("cache-*"))


def test_the_same_rows_keep_the_same_fingerprint_for_caches_of_datasets(cache, tokenizer, tmp_path, dataset):
    first = cache.label(dataset)._fingerprint
    time.sleep(0.05)
    again = TeacherCache(tmp_path / "cache", tiny_model(num_hidden_layers=4, seed=1), tiny_tokenizer())
    assert again.label(dataset)._fingerprint == first
    assert again.label(dataset.select(range(31)))._fingerprint != first


def test_columns_that_nobody_uses_are_removed_and_the_last_ones_are_kept(cache, dataset):
    folder = cache.folder / "columns"
    used = cache.label(dataset.select([0, 1]))
    for i in range(12):
        cache.label(dataset.select([i, i + 1, i + 2]))
    assert len(list(folder.iterdir())) == 13
    for path in folder.iterdir():
        make_old(path, days=8)
    (folder / "cache-0123.arrow").write_bytes(b"texts of an older version")
    make_old(folder / "cache-0123.arrow", days=400)
    values = used[TEACHER_LOGITS][:]
    cache.label(dataset.select([0, 1]))  # used now, so it is kept
    cache.label(dataset.select([5, 4, 3, 2, 1]))
    assert len(list(folder.iterdir())) == 8
    assert used[TEACHER_LOGITS][:] == values
    assert cache.label(dataset.select([0, 1]))[TEACHER_LOGITS][:] == values


def test_what_a_killed_process_left_is_removed_after_a_day(cache, teacher, tokenizer, tmp_path, dataset):
    cache.label(dataset)
    for folder in (cache.folder, cache.folder / "columns"):
        for name, days in (("young.tmp", 0.5), ("old.tmp", 1.5)):
            (folder / name).write_bytes(b"half a file")
            make_old(folder / name, days)
    TeacherCache(tmp_path / "cache", teacher, tokenizer).label(dataset.select([1, 0]))
    assert [path.name for path in sorted(cache.folder.rglob("*.tmp"))] == ["young.tmp", "young.tmp"]


# ---- Files that others have made ----


@contextlib.contextmanager
def within(seconds):
    """End a test that waits for ever, as reading a FIFO would."""

    def stop(*args):
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def make_fifo(path, source):
    os.mkfifo(path)


def make_link(path, source):
    path.symlink_to(source)


def make_link_to_zeros(path, source):
    path.symlink_to("/dev/zero")


def make_device(path, source):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # as /dev/zero
    except PermissionError:
        pytest.skip("only root can make a device")


MAKERS = [make_fifo, make_link, make_link_to_zeros, make_device, lambda path, source: path.mkdir()]


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_not_a_file_is_refused_as_a_shard(cache, teacher, tokenizer, tmp_path, dataset, make):
    cache.label(dataset)
    (shard,) = cache.folder.glob(f"*{SUFFIX}")
    shutil.move(shard, tmp_path / "elsewhere")
    make(shard, tmp_path / "elsewhere")
    with within(20), pytest.raises(OSError, match=f"{shard.name} is .*only has regular files. Remove it"):
        TeacherCache(tmp_path / "cache", teacher, tokenizer)


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_not_a_file_is_refused_as_a_column(cache, tmp_path, dataset, make):
    cache.label(dataset)
    (column,) = (cache.folder / "columns").iterdir()
    shutil.move(column, tmp_path / "elsewhere")
    make(column, tmp_path / "elsewhere")
    with within(20), pytest.raises(OSError, match=f"{column.name} is .*only has regular files. Remove it"):
        cache.label(dataset)


def test_a_folder_of_columns_that_leads_elsewhere_is_refused(cache, tmp_path, dataset):
    (tmp_path / "elsewhere").mkdir()
    (cache.folder / "columns").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="columns is a link"):
        cache.label(dataset)
    assert not list((tmp_path / "elsewhere").iterdir())


def write_shard(folder, keys, values, name="key", offsets=None):
    """Write a shard under a name with its checksum; its offsets can then be others than those of the values."""
    key_array = pa.Array.from_buffers(pa.binary(16), len(keys), [None, pa.py_buffer(keys.tobytes())])
    batch = pa.record_batch({name: key_array, "values": values})
    with pa.OSFile(str(folder / "shard"), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    if offsets is not None:
        content, right = (folder / "shard").read_bytes(), np.array([0, 3, 6], np.int32).tobytes()
        assert content.count(right) == 1
        (folder / "shard").write_bytes(content.replace(right, np.array(offsets, np.int64).astype(np.int32).tobytes()))
    (folder / "shard").rename(folder / (checksum(folder / "shard") + SUFFIX))


def lists(offsets, num_values):
    buffers = [None, pa.py_buffer(np.array(offsets, np.int32).tobytes())]
    values = pa.array(np.zeros(num_values, np.float32))
    return pa.Array.from_buffers(pa.list_(pa.float32()), len(offsets) - 1, buffers, children=[values])


@pytest.mark.parametrize("offsets", [[0, 3, 2**31 - 1], [0, -(2**31), 3], [2**30, 2**30 + 3, 2**30 + 6], [3, 0, 3]])
def test_offsets_that_lead_out_of_a_shard_cost_its_rows_and_not_the_process(tmp_path, offsets):
    keys = np.frombuffer(os.urandom(32), KEY)
    write_shard(tmp_path, keys, lists([0, 3, 6], 6), offsets=offsets)
    store = Store(tmp_path)
    assert len(store) == 0
    assert [path.suffix for path in tmp_path.iterdir()] == [".damaged"]
    store.append(keys, [np.zeros(3, np.float32)] * 2)
    store.refresh()
    assert store.rows(store.find(keys)).to_pylist() == [[0.0] * 3] * 2


def test_shards_with_other_columns_are_not_read(tmp_path):
    keys = np.frombuffer(os.urandom(32), KEY)
    write_shard(tmp_path, keys, lists([0, 3, 6], 6), name="keys")
    write_shard(tmp_path, keys, pa.array(["a", "b"]))
    write_shard(tmp_path, keys, pa.array([[1, 2], [3]]))
    assert len(Store(tmp_path)) == 0
    write_shard(tmp_path, keys, lists([0, 3, 6], 6))
    assert len(Store(tmp_path)) == 2


@pytest.mark.parametrize("seed", range(3))
def test_no_change_of_a_shards_bytes_ends_the_process(tmp_path, seed):
    draw = np.random.default_rng(seed)
    write_shard(tmp_path, np.frombuffer(draw.bytes(16 * 8), KEY), lists(np.arange(9) * 3, 24))
    (shard,) = tmp_path.iterdir()
    content = shard.read_bytes()
    shard.unlink()
    child = os.fork()
    if child == 0:  # a crash would end this process alone
        for _ in range(150):
            changed = bytearray(content)
            for place in draw.integers(len(changed), size=draw.integers(1, 6)):
                changed[place] = draw.choice([0, 1, 127, 128, 255])
            (tmp_path / "shard").write_bytes(changed)
            (tmp_path / "shard").rename(tmp_path / (checksum(tmp_path / "shard") + SUFFIX))
            store = Store(tmp_path)
            store.rows(np.stack([store._locations[:, 0], store._locations[:, 1]], axis=1)) if len(store) else None
            for path in tmp_path.iterdir():
                path.unlink()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def replace_column(cache, table):
    """Put another table into the file of the only column, under a name with its checksum."""
    (column,) = (cache.folder / "columns").iterdir()
    with pa.OSFile(str(column), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    column.rename(column.with_name(f"{column.name.split('-')[0]}-{checksum(column)}.arrow"))


def test_a_column_whose_schema_names_other_features_is_written_again(cache, dataset):
    expected = cache.label(dataset)[TEACHER_LOGITS][:]
    schema = cache.cached_output.features().arrow_schema
    paths = pa.table({TEACHER_LOGITS: pa.array([{"bytes": None, "path": "/etc/hostname"}] * 32)})
    image = {"huggingface": '{"info": {"features": {"teacher_logits": {"_type": "Image"}}}}'}
    replace_column(cache, paths.replace_schema_metadata(image))
    assert cache.label(dataset)[TEACHER_LOGITS][:] == expected
    for path in (cache.folder / "columns").iterdir():
        path.unlink()
    cache.label(dataset)
    replace_column(
        cache, cache.label(dataset).select_columns(TEACHER_LOGITS).data.table.replace_schema_metadata(image)
    )
    labelled = cache.label(dataset)
    assert labelled[TEACHER_LOGITS][:] == expected
    assert labelled.features[TEACHER_LOGITS] == cache.cached_output.features()[TEACHER_LOGITS]
    assert schema.names == [TEACHER_LOGITS]


def test_reading_is_not_slower_for_being_checked(tmp_path):
    keys = np.frombuffer(os.urandom(16 * 200_000), KEY)
    Store(tmp_path).append(keys, list(np.zeros((200_000, 2), np.float32)))
    start = time.process_time()
    assert len(Store(tmp_path)) == 200_000
    assert time.process_time() - start < 5
