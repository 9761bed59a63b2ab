"""Skeletons: the document's examples, every layout there and back, and nothing else accepted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core.dtypes import dtype_named
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_SKELETON_NBYTES, MAX_TENSORS, MIB
from lamella.core.tensors import TensorSpec
from lamella.formats import skeleton as skeletons
from lamella.formats.base import Layout, TensorSpan
from lamella.formats.file import BytesFile
from lamella.formats.skeleton import MAGIC, MAX_FILE_NBYTES, Skeleton, build_skeleton, check_size
from lamella.testing.formats import reassembled

DOCUMENT = Path(__file__).parents[2] / "docs" / "spec" / "skeleton.md"


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a line that begins with `heading`."""
    table = DOCUMENT.read_text().split(f"\n{heading}", 1)[1].split("\n|", 1)[1].split("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def layout_of(gaps_and_sizes: list[tuple[int, int]], tail: int) -> Layout:
    """A layout whose tensors follow gaps; `tail` bytes stand behind the last."""
    tensors, end = [], 0
    for index, (gap, nbytes) in enumerate(gaps_and_sizes):
        tensors.append(TensorSpan(TensorSpec(str(index), dtype_named("u8"), (nbytes,)), end + gap))
        end += gap + nbytes
    return Layout("test", end + tail, tuple(tensors))


def kind_of(data: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        Skeleton.parse(data)
    return caught.value.kind


@pytest.mark.parametrize(("encoded", "sizes", "pieces", "nbytes"), rows("Sizes are"))
def test_the_document_s_examples_hold(encoded, sizes, pieces, nbytes):
    skeleton = Skeleton.parse(bytes.fromhex(encoded))
    tensor_nbytes = [int(size) for size in sizes.split()]
    made = [
        f"{offset}#{piece}" if isinstance(piece, int) else f"{offset}:{piece.hex()}"
        for offset, piece in skeleton.pieces(tensor_nbytes)
    ]
    assert made == pieces.split()
    assert skeleton.file_nbytes(tensor_nbytes) == int(nbytes)


@pytest.mark.parametrize(("encoded", "reason"), rows("What a reader MUST refuse"))
def test_what_the_document_refuses_is_refused(encoded, reason):
    assert reason
    assert kind_of(bytes.fromhex(encoded)) == "skeleton-malformed"


def test_the_document_names_the_limits_of_the_code():
    text = DOCUMENT.read_text()
    assert f"`{MAGIC.hex()}`" in text
    assert f"longer than {MAX_SKELETON_NBYTES} bytes" in text
    assert f"from 1 to {MAX_TENSORS + 1}" in text
    assert MAX_FILE_NBYTES == 2**63 - 1
    assert re.search(r"\n6\. .*\*plain\*", text)


@given(
    gaps_and_sizes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 50)), max_size=20),
    tail=st.integers(0, 300),
    salt=st.binary(min_size=1, max_size=8),
)
def test_every_layout_comes_back(gaps_and_sizes, tail, salt):
    layout = layout_of(gaps_and_sizes, tail)
    data = (salt * (layout.nbytes + 1))[: layout.nbytes]
    file = BytesFile(data)
    encoded = build_skeleton(file, layout)
    skeleton = Skeleton.parse(encoded)
    assert reassembled(data, layout) == data
    assert skeleton.tensor_count == len(gaps_and_sizes)
    assert [len(skeleton.literals(run)) for run in range(skeleton.tensor_count + 1)] == [
        *(gap for gap, _ in gaps_and_sizes),
        tail,
    ]
    for nbytes in range(len(encoded)):
        assert kind_of(encoded[:nbytes]) == "skeleton-malformed"
    assert kind_of(encoded + b"\0") == "skeleton-malformed"


@settings(max_examples=500)
@given(body=st.binary(max_size=30))
def test_any_bytes_are_a_skeleton_in_its_one_encoding_or_refused(body):
    try:
        skeleton = Skeleton.parse(MAGIC + body)
    except FormatError as error:
        assert error.kind == "skeleton-malformed"
        return
    count = skeleton.tensor_count
    layout = layout_of([(len(skeleton.literals(run)), 1) for run in range(count)], len(skeleton.literals(count)))
    made = bytearray(layout.nbytes)
    for offset, piece in skeleton.pieces([1] * count):
        if not isinstance(piece, int):
            made[offset : offset + len(piece)] = piece
    assert build_skeleton(BytesFile(made), layout) == MAGIC + body


@pytest.mark.parametrize("sizes", [[], [1], [1, 2, 3]])
def test_a_wrong_number_of_sizes_is_refused(sizes):
    skeleton = Skeleton.plain(2)
    with pytest.raises(FormatError) as caught:
        next(skeleton.pieces(sizes))
    assert caught.value.kind == "skeleton-malformed"


def test_a_file_longer_than_any_offset_is_refused():
    skeleton = Skeleton.plain(2)
    assert skeleton.file_nbytes([1 << 62, (1 << 62) - 1]) == MAX_FILE_NBYTES
    with pytest.raises(FormatError):
        skeleton.file_nbytes([1 << 62, 1 << 62])


def test_a_skeleton_as_large_as_allowed_is_built_and_a_larger_one_refused(monkeypatch):
    data = bytes(1000)
    framing = len(MAGIC) + 1 + 2
    monkeypatch.setattr(skeletons, "MAX_SKELETON_NBYTES", 1000 + framing)
    layout = Layout("test", 1000, ())
    check_size(layout)
    assert len(build_skeleton(BytesFile(data), layout)) == 1000 + framing
    for refuse in (check_size, lambda layout: build_skeleton(BytesFile(bytes(1001)), layout)):
        with pytest.raises(FormatError) as caught:
            refuse(Layout("test", 1001, ()))
        assert caught.value.kind == "skeleton-too-large"


def test_a_skeleton_longer_than_allowed_is_not_parsed(monkeypatch):
    encoded = build_skeleton(BytesFile(bytes(10)), Layout("test", 10, ()))
    monkeypatch.setattr(skeletons, "MAX_SKELETON_NBYTES", len(encoded))
    assert Skeleton.parse(encoded).file_nbytes([]) == 10
    monkeypatch.setattr(skeletons, "MAX_SKELETON_NBYTES", len(encoded) - 1)
    assert kind_of(encoded) == "skeleton-malformed"


@pytest.mark.parametrize("tensors", [[(0, 5), (4, 1)], [(5, 1), (0, 1)], [(0, 11)], [(11, 0)]])
def test_a_layout_that_breaks_its_rules_has_no_skeleton(tensors):
    u8 = dtype_named("u8")
    spans = tuple(TensorSpan(TensorSpec("x", u8, (nbytes,)), offset) for offset, nbytes in tensors)
    with pytest.raises(FormatError) as caught:
        build_skeleton(BytesFile(bytes(10)), Layout("test", 10, spans))
    assert caught.value.kind == "span-overlap"


def test_a_million_tensors_are_parsed_into_eight_bytes_each():
    count = 1_000_000
    encoded = MAGIC + bytes.fromhex("c1843d") + bytes(count) + b"\x01!"
    skeleton = Skeleton.parse(encoded)
    assert skeleton.tensor_count == count
    assert skeleton.literals(count) == b"!"
    assert len(encoded) < 2 * MIB
