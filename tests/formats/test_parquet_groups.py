"""The groups of rows of a Parquet file are told apart by their bytes, and what the footer says is checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.formats.data.parquet_groups import group_digests, read_groups
from lamella.formats.file import BytesFile

GOLDEN = (Path(__file__).parents[1] / "golden/formats/parquet/rows.parquet").read_bytes()


def test_the_schema_and_the_groups_are_read():
    found = read_groups(BytesFile(GOLDEN))
    assert found.rows == 20
    assert [group.rows for group in found.groups] == [10, 10]
    assert found.columns == {
        "id": "int64", "text": "text", "score": "double", "nested.a": "int64", "nested.b.list.element": "int64",
        "tags.list.element": "text",
    }  # fmt: skip
    assert all(len(group.chunks) == 6 for group in found.groups)


def test_a_group_is_what_its_columns_hold():
    file = BytesFile(GOLDEN)
    groups = read_groups(file)
    before = list(group_digests(file, groups))
    assert len({digest for digest, _ in before}) == 2
    chunk = groups.groups[1].chunks[2]
    content = bytearray(GOLDEN)
    content[chunk.offset + chunk.nbytes - 1] ^= 1
    after = list(group_digests(BytesFile(bytes(content)), groups))
    assert after[0] == before[0]
    assert after[1] != before[1]


@given(st.integers(0, len(GOLDEN) - 1), st.integers(1, 255))
def test_any_damage_is_read_or_refused(at, change):
    content = bytearray(GOLDEN)
    content[at] ^= change
    file = BytesFile(bytes(content))
    try:
        found = read_groups(file)
    except FormatError:
        return
    assert sum(rows for _, rows in group_digests(file, found)) == found.rows
    assert sum(chunk.nbytes for group in found.groups for chunk in group.chunks) <= len(GOLDEN)


@pytest.mark.parametrize("nbytes", [0, 11, 100, len(GOLDEN) - 1])
def test_a_file_that_was_cut_is_refused(nbytes):
    with pytest.raises(FormatError):
        read_groups(BytesFile(GOLDEN[:nbytes]))
