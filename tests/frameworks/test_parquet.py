"""Parquet files that PyArrow writes are compared row by row."""

from __future__ import annotations

import datetime

import pyarrow
import pyarrow.parquet
import pytest

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.integrations.parquet import ParquetRows, parquet_rows
from lamella.ops.data_diff import compare_data
from lamella.repo.data_files import opened_data

MOMENT = datetime.datetime(2026, 1, 1, 12, 30)
ROWS = [
    {"id": number, "text": f"say {number}", "when": MOMENT, "nested": {"a": [number], "b": None}, "label": number % 3}
    for number in range(10_000)
]


def write(path, rows, **options):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, **options)


def compare(directory, before, after, **options):
    write(directory / "before.parquet", before, row_group_size=1000)
    write(directory / "after.parquet", after, row_group_size=700, compression="zstd")
    with opened_data("before.parquet", directory) as one, opened_data("after.parquet", directory) as other:
        found = compare_data(one, other, **options)
    (change,) = found.files
    assert change.unread == ""
    return change.table


def test_rows_are_the_same_in_other_groups_and_other_compression(tmp_path):
    after = [*ROWS[20:], {**ROWS[0], "id": -1}]
    difference = compare(tmp_path, ROWS, after, parquet=parquet_rows())
    assert (difference.added, difference.removed, difference.kept) == (1, 20, 9980)
    assert (difference.at_least, difference.label) == (False, "label")
    assert {one.value: (one.before, one.after) for one in difference.labels} == {
        "0": (3334, 3328), "1": (3333, 3326), "2": (3333, 3327)
    }  # fmt: skip
    without = compare(tmp_path, ROWS, after)
    assert (without.kept, without.at_least, without.groups_before, without.groups_after) == (0, True, 10, 15)


def test_columns_are_compared_by_name_and_type(tmp_path):
    after = [{"text": row["text"], "id": float(row["id"]), "new": True} for row in ROWS]
    difference = compare(tmp_path, ROWS, after, parquet=parquet_rows())
    assert [(one.what, one.name) for one in difference.columns] == [
        ("removed", "when"), ("removed", "nested"), ("removed", "label"), ("added", "new"), ("retyped", "id"),
    ]  # fmt: skip
    assert difference.compared == ("text", "id")
    assert difference.columns_reordered
    assert difference.distance == 1


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    write(tmp_path / "a.parquet", ROWS)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    for at in range(100, len(content) - 3000, 50):
        content[at] ^= 0xFF
    with pytest.raises(FormatError) as caught:
        list(ParquetRows(BytesFile(bytes(content))).read(None, None))
    assert caught.value.kind == "rows-malformed"
    with pytest.raises(FormatError):
        ParquetRows(BytesFile(b"PAR1" * 10))
