"""Files of rows: what is recognised as data, what is not, and how the rows are counted."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.formats.data.csv_table import CsvFormat
from lamella.formats.data.json_lines import JsonLinesFormat
from lamella.formats.data.parquet import ParquetFormat
from lamella.formats.file import BytesFile
from lamella.formats.sniff import read_layout
from lamella.testing.formats import FormatSuite, reassembled

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
CSV, JSONL, PARQUET = CsvFormat(), JsonLinesFormat(), ParquetFormat()


def golden(path: str) -> bytes:
    return (GOLDEN / path).read_bytes()


class TestCsvConformance(FormatSuite):
    format = CSV
    mutations = 200

    def files(self):
        return [golden("csv/rows.csv"), golden("csv/plain.csv"), b"a;b\r\n1;2\r\n", "größe|x\n1|2".encode()]


class TestJsonLinesConformance(FormatSuite):
    format = JSONL
    mutations = 200

    def files(self):
        return [golden("jsonl/rows.jsonl"), b'["a",1]\n["b",2]', b"{}\n{}\n"]


class TestParquetConformance(FormatSuite):
    format = PARQUET
    mutations = 200

    def files(self):
        return [golden("parquet/rows.parquet")]


def found(data: bytes) -> tuple[str, dict[str, str]]:
    """Return the format of a file and what it says of itself."""
    layout, error = read_layout(BytesFile(data))
    assert error is None
    assert reassembled(data, layout) == data
    reader = next((one for one in (CSV, JSONL, PARQUET) if one.name == layout.format), None)
    return layout.format, {} if reader is None else dict(reader.metadata(BytesFile(data)))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("csv/rows.csv", {"rows": "20", "columns": "id, text, score"}),
        ("csv/plain.csv", {"rows": "2", "columns": "2 without names"}),
        ("jsonl/rows.jsonl", {"rows": "20", "columns": "id, text, score"}),
        ("parquet/rows.parquet", {"rows": "20", "columns": "id, text, score, nested, tags"}),
    ],
)
def test_rows_and_columns_are_told(path, said):
    assert found(golden(path)) == (Path(path).parent.name, said)


WIDE = b"label," + b",".join(b"pixel%d" % n for n in range(784)) + b"\n" + b"".join(
    b",".join(b"%d" % (n * row % 256) for n in range(785)) + b"\n" for row in range(30)
)  # fmt: skip
LONG = b"".join(json.dumps({"text": "word " * 2000, "n": row}).encode() + b"\n" for row in range(300))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("csv", b"a,b\n1,2"),
        ("csv", b"\xef\xbb\xbfa,b\r\n1,2\r\n"),
        ("csv", b'a,"b\n"\n1,2\n'),
        ("csv", b"a\tb\n" * 5000),
        ("csv", WIDE),
        ("jsonl", b'{"a": 1}\n{"a": 2}'),
        ("jsonl", LONG),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rows_are_recognised(name, data):
    assert found(data)[0] == name


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n",
        b"a\nb\n",
        b"a,b\nc\n",
        b"a,b\n1,2\0\n",
        b"a,b\n\xff,2\n",
        b'a,b\n"1,2\n',
        b"lamella manifest 1\n# A line; and more, to read.\nformat x\n",
        b'{"a": 1}',
        b'{"a": 1}\n',
        b'{\n"a": 1,\n"b": 2\n}\n',
        b'{"a": 1}\n["a"]\n',
        b'{"a": 1}\n{"a": 2\n',
        b"[" * 5000 + b"\n" + b"[" * 5000,
        b'{"' + b"x" * 10_000,
        b"," * 4096 + bytes(100),
        b"," * 5000 + b"\n" + b"a,b\n" * 50,
        b"aaaaaaa,bbbbbbb\n" * 500 + b"a\n",
        random.Random(0).randbytes(10_000),
    ],
    ids=range(18),
)
def test_what_is_no_rows_is_opaque(data):
    assert found(data) == ("opaque", {})


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.just("\n")), min_size=3, max_size=3),
        min_size=2,
        max_size=9,
    )
)
def test_records_are_counted_as_they_were_written(records):
    data = "".join(",".join('"' + field.replace('"', '""') + '"' for field in record) + "\n" for record in records)
    name, said = found(data.encode())
    assert name == "csv"
    assert int(said["rows"]) + ("without" not in said["columns"]) == len(records)


def test_a_long_table_is_counted_in_a_moment_and_is_cut_by_its_content():
    data = b"a,b\n" + b'"1,\n1",2\n' * 1_000_000
    started = time.process_time()
    assert CSV.metadata(BytesFile(data)) == {"rows": "1000000", "columns": "a, b"}
    assert time.process_time() - started < 3
    layout, _ = read_layout(BytesFile(data))
    assert layout.format == "csv"
    assert layout.tensors
    assert all(span.part for span in layout.tensors)


def footer_of(schema_and_rows: bytes) -> bytes:
    return b"PAR1" + schema_and_rows + len(schema_and_rows).to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("file-truncated", golden("parquet/rows.parquet")[:-1]),
        ("file-truncated", b"PAR1" + b"\xff" * 4 + b"PAR1"),
        ("file-truncated", b"PAR1" + bytes(8)),
        ("header-malformed", footer_of(b"")),
        ("header-malformed", footer_of(b"\0")),
        ("header-malformed", footer_of(b"\x29\xfc\xff\xff\xff\xff\x0f")),
        ("header-malformed", footer_of(b"\x29\x1c\x48\xff\xff\xff\xff\x0f")),
        ("header-malformed", footer_of(b"\x15" + b"\xff" * 20)),
        ("header-malformed", footer_of(b"\x1d")),
        ("header-malformed", footer_of(b"\x1b\xff\xff\xff\xff\x0f\x55")),
        ("header-too-deep", footer_of(b"\x1c" * 100_000)),
        ("header-too-deep", footer_of(b"\x19" * 100_000)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_footer_that_cannot_be_is_refused(kind, data):
    for read in (PARQUET.layout, PARQUET.metadata):
        with pytest.raises(FormatError) as raised:
            read(BytesFile(data))
        assert raised.value.kind == kind


def test_a_footer_of_many_columns_is_read_in_a_moment():
    column = b"\x15\x02\x38\x06column\0"
    schema = b"\x19\xfc" + b"\xa1\x8d\x06" + b"\x48\x06schema\x15\xc0\x9a\x0c\0" + column * 100_000
    data = footer_of(b"\x15\x02" + schema + b"\x16\x0a\0")
    started = time.process_time()
    assert PARQUET.metadata(BytesFile(data))["rows"] == "5"
    assert time.process_time() - started < 3
