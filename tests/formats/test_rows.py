"""Rows are told apart by their values, however they are written, and reading them takes bounded memory and time."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_ROW_NBYTES, MIB
from lamella.formats.data.csv_rows import CsvRows
from lamella.formats.data.csv_table import Table
from lamella.formats.data.json_rows import JsonRows
from lamella.formats.data.lines import lines
from lamella.formats.data.rows import label_of, rows_of
from lamella.formats.file import BytesFile

TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r"), max_size=12)


def read(content: bytes, columns=None, label=None, like: bytes | None = None) -> list[tuple[bytes, str | None]]:
    rows = rows_of(BytesFile(content), None if like is None else BytesFile(like))
    assert rows is not None
    return list(rows.read(columns, label))


def bodies(content: bytes, **options) -> list[bytes]:
    return [body for body, _ in read(content, **options)]


class Endless:
    """A file of one repeated byte behind some others, which counts what is read of it."""

    def __init__(self, head: bytes, byte: bytes, nbytes: int) -> None:
        self._head, self._byte, self.nbytes = head, byte, nbytes
        self.read = 0

    def read_at(self, offset: int, nbytes: int) -> bytes:
        self.read += nbytes
        return (self._head[offset : offset + nbytes] + self._byte * nbytes)[:nbytes]


@given(st.lists(st.lists(TEXT, min_size=3, max_size=3), min_size=2, max_size=20))
def test_records_are_what_the_csv_module_wrote(records):
    records = [["a", "b", "c"], *([f"v{index}", *record[1:]] for index, record in enumerate(records))]
    written = []
    for delimiter, quoting, end in ((",", csv.QUOTE_ALL, "\r\n"), (";", csv.QUOTE_MINIMAL, "\n")):
        file = io.StringIO(newline="")
        csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(records)
        table = Table(delimiter, ("a", "b", "c"), True)
        rows = CsvRows(BytesFile(file.getvalue().encode()), table)
        written.append(list(rows.read(None, "b")))
    assert written[0] == written[1]
    assert [label for _, label in written[0]] == [record[1] for record in records[1:]]
    assert len({body for body, _ in written[0]}) == len(records) - 1


@given(st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=2, max_size=8, unique_by=tuple))
def test_other_fields_are_other_rows(records):
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *records])
    rows = CsvRows(BytesFile(file.getvalue().encode()), Table(",", ("a", "b"), True))
    assert len({body for body, _ in rows.read(None, None)}) == len(records)


def test_separators_within_fields_do_not_make_two_rows_one():
    records = [["a\x1fb", "c"], ["a", "b\x1fc"], ["\x1ex", "y"], ['\x1e["a","b"]', ""]]
    table = Table(",", ("1", "2"), False)
    content = "".join(f"{','.join(record)}\n" for record in records).encode()
    assert len({body for body, _ in CsvRows(BytesFile(content), table).read(None, None)}) >= 3
    file = io.StringIO(newline="")
    csv.writer(file).writerows(records)
    found = [body for body, _ in CsvRows(BytesFile(file.getvalue().encode()), table).read(None, None)]
    assert len(set(found)) == 4


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last", [True, False])
def test_ends_of_lines_and_marks_change_nothing(end, mark, last):
    expected = bodies(b'id,text\n1,"two\nlines"\n2,plain\n')
    content = mark + end.join(["id,text", '1,"two', 'lines"', "2,plain", ""]).encode()
    rows = CsvRows(BytesFile(content if last else content.removesuffix(end.encode())), Table(",", ("id", "text"), True))
    assert [body for body, _ in rows.read(None, None)] == expected
    assert len(expected) == 2


def test_ends_of_lines_may_be_mixed_and_lie_across_windows():
    content = (b"x" * (MIB - 1)) + b"\r\n" + b"y\rz\n\r\n" + b"last"
    assert list(lines(BytesFile(content))) == ["x" * (MIB - 1), "y", "z", "", "last"]
    assert list(lines(BytesFile(b""))) == []
    assert list(lines(BytesFile(b"a\r"))) == ["a"]


def test_bytes_that_are_no_text_are_kept():
    content = b"id,text\n" + b"".join(b"%d,ok\n" % number for number in range(200_000)) + b"7,\xff\xfe\n8,\xff\xfd\n"
    found = bodies(content)
    assert found[-2:] == [b"7\x1f\xff\xfe", b"8\x1f\xff\xfd"]


def test_columns_are_taken_by_name_in_any_order():
    one, other = b"a,b,c\n1,2,3\n4,5,6\n", b"c,a,b\n3,1,2\n6,4,5\n"
    assert bodies(one) == bodies(other)
    assert bodies(one, columns=["c", "a"]) == bodies(other, columns=["a", "c"]) == [b"1\x1f3", b"4\x1f6"]
    assert bodies(one, columns=["b"]) == [b"2", b"5"]


def test_a_record_of_another_length_is_a_row_of_its_own():
    content = b"a,b\n1,2\n3,4\n" + b"".join(b"%d,0\n" % number for number in range(300_000)) + b"1\n1,2,3\n\n"
    rows = rows_of(BytesFile(content))
    assert rows is not None
    found = [body for body, _ in rows.read(None, None)]
    assert found[-2:] == [b'\x1e["1"]', b'\x1e["1", "2", "3"]']


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["1", "2", ""], "integer"),
        (["1", "2.5"], "number"),
        (["1e9", "-inf"], "number"),
        (["true", "False"], "boolean"),
        (["1", "x"], "text"),
        (["", " "], ""),
    ],
)
def test_types_are_told_from_fields(fields, expected):
    content = "a,b\n" + "".join(f"{field},x\n" for field in fields)
    rows = CsvRows(BytesFile(content.encode()), Table(",", ("a", "b"), True))
    assert len(list(rows.read(None, None))) == len(fields)
    assert rows.types() == {"a": expected, "b": "text"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(TEXT, VALUES, min_size=1, max_size=5), min_size=2, max_size=8))
def test_lines_of_json_are_the_same_whatever_the_order_of_keys(rows):
    one = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    other = "".join(f"{json.dumps(dict(reversed(row.items())), ensure_ascii=False)} \r\n" for row in rows).encode()
    found = [body for body, _ in JsonRows(BytesFile(one)).read(None, None)]
    assert found == [body for body, _ in JsonRows(BytesFile(other)).read(None, None)]
    written = {json.dumps(row, sort_keys=True) for row in rows}
    assert len(set(found)) == len(written)


def test_json_tells_types_and_labels():
    content = b'{"a": 1, "y": "cat"}\n{"a": 2.5, "y": true, "b": null}\n\n{"a": 3, "y": [1], "b": {"c": 1}}\n[1]\n'
    rows = JsonRows(BytesFile(content))
    assert rows.names == ("a", "y")
    assert [label for _, label in rows.read(None, "y")] == ["cat", "True", None, None]
    assert rows.types() == {"a": "number", "y": "boolean or list or text", "b": "object"}


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"a": \n',
        b'{"a": 1}\n' + b"[" * 200_000 + b"\n",
        b'{"a": 1}\n{"a": ' + b"9" * 5000 + b"}\n",
        b'{"a": 1}\n{"a": "' + b"x" * (MAX_ROW_NBYTES + MIB) + b'"}\n',
    ],
)
def test_a_line_that_is_no_row_is_refused(content):
    with pytest.raises(FormatError) as caught:
        list(JsonRows(BytesFile(content)).read(None, None))
    assert caught.value.kind == "rows-malformed"


@pytest.mark.parametrize("head", [b"a,b\n1,2\n3,", b'a,b\n1,2\n3,"', b"x" * 100])
@pytest.mark.parametrize("byte", [b"x", b",", b"\n"])
def test_an_endless_row_costs_what_the_longest_does(head, byte):
    file = Endless(head, byte, 2**30 if byte != b"\n" else MIB)
    rows = CsvRows(file, Table(",", ("a", "b"), True))
    tracemalloc.start()
    try:
        list(rows.read(None, None))
        ended = True
    except FormatError as error:
        ended = error.kind != "rows-malformed"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 128 * MIB
    assert ended == (byte == b"\n" and b'"' not in head)
    if byte != b"\n":
        assert file.read < 8 * MIB


@pytest.mark.parametrize(
    ("content", "count"), [(b"", 0), (b"a,b\n", 0), (b"\xef\xbb\xbfa,b", 0), (b"1,2\n", 1), (b"\n\n", 0)]
)
def test_too_little_to_be_told_is_what_the_other_version_is(content, count):
    assert rows_of(BytesFile(content)) is None
    assert len(read(content, like=b"a,b\n1,2\n3,4\n")) == count
    assert rows_of(BytesFile(b"\x00\x01"), BytesFile(b"a,b\n1,2\n3,4\n")) is None
    assert len(read(b"", like=b"[1]\n[2]\n")) == 0
    assert len(read(b"[1]\n", like=b"[1]\n[2]\n")) == 1


def test_labels_are_found_by_name():
    assert label_of(["id", "Class", "Y"]) == "Class"
    assert label_of(["y", "label"]) == "label"
    assert label_of(["id"]) is None
