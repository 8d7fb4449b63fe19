"""The store returns rows as they were stored, for all lengths of rows, numbers of shards and keys."""

import numpy as np
import pyarrow as pa
import pytest

from hf_distill.cache.store import KEY, SUFFIX, Store, checksum


def random_keys(num_keys, seed=0):
    return np.frombuffer(np.random.default_rng(seed).bytes(16 * num_keys), KEY)


def filled(folder, keys, rows, num_shards, dtype="float32"):
    store = Store(folder, dtype)
    for part in np.array_split(np.arange(len(keys)), num_shards):
        store.append(keys[part], [rows[i] for i in part])
    store.refresh()
    return store


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_of_any_length_are_returned_in_the_requested_order(tmp_path, dtype):
    keys = random_keys(40)
    rows = [
        np.arange(3 * (i % 7), dtype=np.float32) + i for i in range(40)
    ]  # 3 numbers per token; some rows have no tokens
    store = filled(tmp_path, keys, rows, num_shards=5, dtype=dtype)
    requested = [39, 0, 7, 7, 21, 3, 38, 14]
    assert store.rows(store.find(keys[requested])).to_pylist() == [rows[i].tolist() for i in requested]


def test_keys_that_share_a_half_are_distinguished(tmp_path):
    half, zeros, ones = b"12345678", bytes(8), b"\xff" * 8
    stored = [half + zeros, half + half, half + ones, zeros + zeros, zeros + half, ones + zeros, ones + half]
    absent = [half + b"12345679", zeros + ones, ones + ones, b"12345679" + half]
    keys = np.frombuffer(b"".join(stored), KEY)
    store = filled(tmp_path, keys, [np.array([i], np.float32) for i in range(len(keys))], num_shards=3)
    assert store.rows(store.find(keys)).to_pylist() == [[float(i)] for i in range(len(keys))]
    assert (store.find(np.frombuffer(b"".join(absent), KEY)) == -1).all()


def test_the_row_that_was_read_first_is_kept_when_shards_are_added(tmp_path):
    keys = random_keys(8)
    store = filled(tmp_path, keys[:5], [np.zeros(2, np.float32)] * 5, num_shards=2)
    before = store.find(keys[:5])
    for seed in range(4):  # names, and so the order on disk, depend on the values
        Store(tmp_path).append(keys, [np.full(2, 1 + seed, np.float32)] * 8)
    store.refresh()
    assert len(store) == 8
    assert (store.find(keys[:5]) == before).all()
    assert store.rows(before).to_pylist() == [[0.0, 0.0]] * 5
    assert (store.find(keys)[:, 0] >= 0).all()


def test_an_empty_store_has_no_key(tmp_path):
    assert len(Store(tmp_path)) == 0
    assert (Store(tmp_path).find(random_keys(3)) == -1).all()


def test_an_arrow_file_that_another_program_wrote_is_read(tmp_path):
    keys = random_keys(3)
    values = pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32()))
    table = pa.table({"key": pa.array([key.tobytes() for key in keys], pa.binary(16)), "values": values})
    with pa.OSFile(str(tmp_path / "shard"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "shard").rename(tmp_path / (checksum(tmp_path / "shard") + SUFFIX))
    store = Store(tmp_path)
    assert store.rows(store.find(keys[::-1])).to_pylist() == [[5.0, 6.0], [3.0, 4.0], [1.0, 2.0]]


def test_a_shard_contains_keys_and_lists_of_floats(tmp_path):
    keys = random_keys(2)
    filled(tmp_path, keys, [np.array([1.0, 2.0]), np.array([3.0])], num_shards=1)
    (shard,) = tmp_path.iterdir()
    table = pa.ipc.open_file(pa.OSFile(str(shard))).read_all()
    assert table.schema.types == [pa.binary(16), pa.list_(pa.float32())]
    assert table.to_pydict() == {"key": [key.tobytes() for key in keys], "values": [[1.0, 2.0], [3.0]]}
