"""Read Parquet files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetInfo, Features
from datasets.table import InMemoryTable

from hf_distill.data.reading.content import Content
from hf_distill.data.reading.options import ReadOptions
from hf_distill.data.table import Source, Table
from hf_distill.utils.atomic import write_file_atomically

_IN_MEMORY = 1 << 26  # bytes; the rows of a larger file are mapped from the disk
_BLOCK = 1 << 20


def read_parquet(content: Content, options: ReadOptions) -> Table:
    """Read a Parquet file.

    The rows of a large file are stored in the cache of `datasets`, under a hash of the content of the file.

    Raises:
        ValueError: if the file is not Parquet, or if two columns have the same name.
    """
    try:
        with content.open() as handle:
            file = pq.ParquetFile(handle)
            names = file.schema_arrow.names
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{content.path} has two columns of the same name {twice[0]!r}. Rename one.")
            known = [field.name for field in file.schema_arrow if _is_known(field)]
            if handle.size() <= _IN_MEMORY:
                dataset = _as_dataset(_plain(file.read(columns=known)))
            else:
                dataset = _mapped(file, known, content)
    except (pa.ArrowException, NotImplementedError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        remedy = "Write or download it again."
        if "Expected all lists to be of size" in reason:
            remedy = "Install pyarrow 26 or newer, which reads missing lists of a fixed length; older ones cannot."
        raise ValueError(f"{content.path} cannot be read as Parquet: {reason}. {remedy}") from None
    strange = [f"{field.name} ({field.type})" for field in file.schema_arrow if field.name not in known]
    notes = (f"left out: {', '.join(strange)}, of a type that `datasets` does not have",) if strange else ()
    return Table(Source(content.path, content.name, "Parquet", notes=notes), dataset)


def _is_known(field: pa.Field) -> bool:
    """Whether `datasets` has a type for a column."""
    try:
        Features.from_arrow_schema(pa.schema([field]))
    except (ValueError, TypeError):
        return _plain_type(field.type) != field.type
    return True


def _mapped(file: pq.ParquetFile, columns: Sequence[str], content: Content) -> Dataset:
    digest = hashlib.sha256()
    with content.open() as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    folder, name = Path(datasets.config.HF_DATASETS_CACHE, "hf_distill"), f"{digest.hexdigest()}.arrow"
    if not (folder / name).is_file():
        write_file_atomically(folder, name, lambda path: _write(_batches(file, columns), path))
    return Dataset.from_file(str(folder / name))


def _batches(file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.Table]:
    for batch in file.iter_batches(batch_size=10_000, columns=columns):
        yield _plain(pa.Table.from_batches([batch]))


def _write(tables: Iterator[pa.Table], path: Path) -> None:
    first = next(tables)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table.cast(first.schema))


def _as_dataset(table: pa.Table) -> Dataset:
    return Dataset(InMemoryTable(table), info=DatasetInfo(features=Features.from_arrow_schema(table.schema)))


def _plain(table: pa.Table) -> pa.Table:
    """Convert categories, string views and UTF-8 bytes to strings."""
    for place, field in enumerate(table.schema):
        if (kind := _plain_type(field.type)) != field.type:
            try:
                column = table.column(place).cast(kind)
            except pa.ArrowInvalid:  # bytes that are not text: an error if the column is used
                continue
            table = table.set_column(place, pa.field(field.name, kind, metadata=field.metadata), column)
    return table


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_string_view(kind) or pa.types.is_binary(kind) or pa.types.is_binary_view(kind):
        return pa.string()
    return pa.large_string() if pa.types.is_large_binary(kind) else kind
