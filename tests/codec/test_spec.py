"""docs/spec/codecs.md, read as tests: its tables against the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3

from lamella.codec import kernels
from lamella.codec.alone import Alone
from lamella.codec.builtin import BUILTIN, codec_for
from lamella.codec.delta import LAYOUT_OF_DTYPE, Delta
from lamella.codec.delta_format import LAYOUTS, TRAILER, Layout
from lamella.codec.reference import GEAR
from lamella.core.errors import IntegrityError
from lamella.testing.codecs import decoded

SPEC = Path(__file__).parents[2] / "docs" / "spec" / "codecs.md"


def table(*columns: str) -> list[list[str]]:
    """Return the rows of the one table of the page that has these columns."""
    lines = SPEC.read_text(encoding="utf-8").splitlines()
    first = lines.index(f"| {' | '.join(columns)} |") + 2
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line[1:-1].split("|")])
    assert rows
    assert all(len(row) == len(columns) for row in rows)
    return rows


def parsed(cell: str) -> bytes:
    """Return the bytes that a cell such as `0c 3e 00*100` or `00800000*32` stands for."""
    pairs = (token.partition("*") for token in cell.split())
    return b"".join(bytes.fromhex(digits) * int(count or 1) for digits, _, count in pairs)


def test_the_table_of_codes_lists_the_builtin_codecs():
    rows = table("code", "name", "needs a base", "payload")
    assert [(int(code), name, needs == "yes") for code, name, needs, _ in rows] == [
        (codec.code, codec.name, codec.needs_base)
        for codec in sorted((*BUILTIN, Delta, Alone), key=lambda codec: codec.code)
    ]


@pytest.mark.parametrize("row", table("code", "item_nbytes", "base", "chunk", "payload"), ids=" ".join)
def test_a_payload_of_the_page_decodes_to_its_chunk(row):
    codec, item_nbytes = codec_for(int(row[0])), int(row[1])
    base, chunk, payload = (parsed(cell) for cell in row[2:])
    against = base if codec.needs_base else None
    assert decoded(codec, payload, len(chunk), item_nbytes, against) == chunk


@pytest.mark.parametrize("row", table("code", "item_nbytes", "base", "chunk", "payload"), ids=" ".join)
def test_a_chunk_of_the_page_encodes_to_its_payload(row):
    codec, item_nbytes = codec_for(int(row[0])), int(row[1])
    base, chunk, payload = (parsed(cell) for cell in row[2:])
    encoded = codec.encode(chunk, item_nbytes, base if codec.needs_base else None)
    # Another release of zstd may find another frame; it may not be longer.
    assert encoded == payload or (payload[:1] == b"\1" and len(encoded) <= len(payload))


@pytest.mark.parametrize("row", table("code", "item_nbytes", "nbytes", "payload", "because"), ids=lambda row: row[4])
def test_a_payload_that_the_page_forbids_is_refused(row):
    codec, item_nbytes, nbytes = codec_for(int(row[0])), int(row[1]), int(row[2])
    with pytest.raises(IntegrityError) as caught:
        decoded(codec, parsed(row[3]), nbytes, item_nbytes, bytes(nbytes) if codec.needs_base else None)
    assert caught.value.kind == "payload-malformed"


def test_the_layouts_are_those_of_the_page():
    rows = table("layout", "dtypes", "item_nbytes", "exponent", "mantissa")
    assert {int(row[0]): Layout(*map(int, row[2:])) for row in rows} == LAYOUTS
    assert {dtype: int(row[0]) for row in rows for dtype in row[1].split(", ")} == LAYOUT_OF_DTYPE


def test_the_trailer_of_a_delta_is_that_of_the_page():
    rows = table("field of the trailer", "offset", "bytes", "format", "value")
    assert "<" + "".join(row[3] for row in rows) == TRAILER.format
    ends = [int(row[1]) + int(row[2]) for row in rows]
    assert [0, *ends] == [*(int(row[1]) for row in rows), TRAILER.size]


@pytest.mark.parametrize("row", table("parameters", "item_nbytes", "base", "chunk", "payload"), ids=lambda row: row[3])
def test_a_delta_of_the_page_is_what_its_chunk_encodes_to_and_decodes_to_it(row):
    codec, item_nbytes = codec_for(4, parsed(row[0])), int(row[1])
    base, chunk, payload = (parsed(cell) for cell in row[2:])
    assert decoded(codec, payload, len(chunk), item_nbytes, base) == chunk
    assert codec.encode(chunk, item_nbytes, base) == payload


@pytest.mark.parametrize(
    "row", table("parameters", "item_nbytes", "nbytes", "payload", "because"), ids=lambda row: row[4]
)
def test_a_delta_that_the_page_forbids_is_refused(row):
    codec, item_nbytes, nbytes = codec_for(4, parsed(row[0])), int(row[1]), int(row[2])
    with pytest.raises(IntegrityError) as caught:
        decoded(codec, parsed(row[3]), nbytes, item_nbytes, bytes(nbytes))
    assert caught.value.kind == "payload-malformed"


@pytest.mark.parametrize("row", table("table", "item_nbytes", "chunk", "payload"), ids=lambda row: row[2])
def test_floats_alone_of_the_page_encode_to_their_payload_and_back(row):
    codec, item_nbytes = codec_for(5, parsed(row[0])), int(row[1])
    chunk, payload = parsed(row[2]), parsed(row[3])
    assert decoded(codec, payload, len(chunk), item_nbytes, None) == chunk
    assert codec.encode(chunk, item_nbytes, None) == payload


@pytest.mark.parametrize("row", table("table", "item_nbytes", "nbytes", "payload", "because"), ids=lambda row: row[4])
def test_floats_alone_that_the_page_forbids_are_refused(row):
    codec, item_nbytes, nbytes = codec_for(5, parsed(row[0])), int(row[1]), int(row[2])
    with pytest.raises(IntegrityError) as caught:
        decoded(codec, parsed(row[3]), nbytes, item_nbytes, None)
    assert caught.value.kind == "payload-malformed"


@pytest.mark.parametrize("row", table("parameters", "because"), ids=lambda row: row[1])
def test_parameters_that_the_page_forbids_are_refused(row):
    with pytest.raises(IntegrityError) as caught:
        codec_for(4, parsed(row[0]))
    assert caught.value.kind == "payload-malformed"


@pytest.mark.parametrize("row", table("k", "gear[k]"), ids=" ".join)
def test_the_gear_has_the_numbers_of_the_page(row):
    k = int(row[0])
    assert int.from_bytes(GEAR[8 * k : 8 * k + 8], "little") == int(row[1], 16)


@pytest.mark.parametrize("row", table("data", "minimum", "average", "maximum", "chunks"), ids=" ".join)
def test_data_of_the_page_are_cut_as_it_says(row):
    source, nbytes = row[0].split()
    data = bytes(int(nbytes)) if source == "Z" else blake3(b"lamella vector").digest(length=int(nbytes))
    rest, chunks = memoryview(data), []
    while rest:
        chunks.append(kernels.find_cut(rest, *(int(cell) for cell in row[1:4])))
        rest = rest[chunks[-1] :]
    assert chunks == [int(cell) for cell in row[4].split()]
