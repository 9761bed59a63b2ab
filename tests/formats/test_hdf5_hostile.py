"""HDF5 files that nobody should have to read: circles, bombs, overlaps and lies, each refused in bounded time."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from pathlib import Path

import pytest

from lamella.core.errors import FormatError
from lamella.formats.base import Layout
from lamella.formats.file import BytesFile
from lamella.formats.hdf5 import blocks as hdf5_blocks
from lamella.formats.hdf5.reader import Hdf5Format
from lamella.formats.hollow import HollowFile
from lamella.formats.skeleton import Skeleton, build_skeleton
from lamella.formats.strided import read_view
from lamella.testing.formats import check_spans, reassembled

FORMAT = Hdf5Format()
GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
F32 = bytes.fromhex("11201f000400000000002000170800177f000000")
DATASPACE, LINK_INFO, DATATYPE, LINK, LAYOUT, CONTINUATION = 1, 2, 3, 6, 8, 16


class Writer:
    """A file of the newer kind, whose checksums are zero, as nobody looks at them."""

    def __init__(self) -> None:
        self.data = bytearray(48)

    def put(self, block: bytes) -> int:
        self.data += block
        return len(self.data) - len(block)

    def header(self, *messages: tuple[int, bytes]) -> int:
        body = b"".join(struct.pack("<BHB", kind, len(data), 0) + data for kind, data in messages)
        return self.put(b"OHDR\2\2" + struct.pack("<I", len(body)) + body + bytes(4))

    def dataset(self, shape: tuple[int, ...], layout: bytes, datatype: bytes = F32) -> int:
        return self.header((DATASPACE, dataspace(*shape)), (DATATYPE, datatype), (LAYOUT, layout))

    def group(self, **links: int) -> int:
        return self.header(*(link(name, address) for name, address in links.items()))

    def finish(self, root: int) -> bytes:
        self.data[:48] = b"\x89HDF\r\n\x1a\n\2\10\10\0" + struct.pack("<QQQQI", 0, 2**64 - 1, len(self.data), root, 0)
        return bytes(self.data)


def dataspace(*shape: int) -> bytes:
    return struct.pack(f"<BBBB{len(shape)}Q", 2, len(shape), 0, 1, *shape)


def link(name: str, address: int) -> tuple[int, bytes]:
    return LINK, struct.pack("<BBB", 1, 0, len(name)) + name.encode() + struct.pack("<Q", address)


def contiguous(address: int, nbytes: int) -> bytes:
    return struct.pack("<BBQQ", 3, 1, address, nbytes)


def chunked(address: int, *chunk: int) -> bytes:
    return struct.pack(f"<BBBQ{len(chunk)}I", 3, 2, len(chunk), address, *chunk)


def refused(data: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        FORMAT.layout(BytesFile(data))
    return caught.value.kind


def names(data: bytes) -> list[str]:
    layout = FORMAT.layout(BytesFile(data))
    return [one.spec.name for one in (*layout.tensors, *layout.views)]


def one_dataset(shape: tuple[int, ...], layout, datatype: bytes = F32) -> bytes:
    writer = Writer()
    at = writer.put(struct.pack("<6f", *range(6)))
    return writer.finish(writer.group(x=writer.dataset(shape, layout(at), datatype)))


def test_the_writer_of_these_tests_writes_what_is_read():
    layout = FORMAT.layout(BytesFile(one_dataset((2, 3), lambda at: contiguous(at, 24))))
    (span,) = layout.tensors
    assert (span.spec.name, span.spec.shape, span.offset) == ("x", (2, 3), 48)


def test_a_group_in_itself_is_gone_through_once():
    writer = Writer()
    at = writer.put(bytes(8))
    dataset = writer.dataset((2,), contiguous(at, 8))
    root = len(writer.data)
    assert names(writer.finish(writer.group(again=root, x=dataset))) == ["x"]


def test_paths_that_multiply_are_not_followed():
    writer = Writer()
    at = writer.put(bytes(8))
    below = writer.dataset((2,), contiguous(at, 8))
    for _ in range(60):
        below = writer.group(a=below, b=below)
    assert len(names(writer.finish(below))) == 2


def test_a_path_has_an_end():
    writer = Writer()
    below = writer.group()
    for _ in range(20_000):
        below = writer.group(g=below)
    assert refused(writer.finish(below)) == "header-malformed"


@pytest.mark.parametrize("nbytes", [0, 12, 24])
def test_a_header_that_goes_on_in_itself_is_refused(nbytes):
    writer = Writer()
    block = writer.put(b"OCHK" + struct.pack("<BHBQQ", CONTINUATION, 16, 0, 48, 28) + bytes(4))
    root = writer.header((CONTINUATION, struct.pack("<QQ", block, 28)))
    assert refused(writer.finish(root)) == "header-too-large"


@pytest.mark.parametrize(
    "shape",
    [(2**63,), (2**32, 2**31), (2**64 - 1,), (2**61, 2), (2**62, 2**62, 0)],
)
def test_a_shape_larger_than_any_file_is_refused(shape):
    assert refused(one_dataset(shape, lambda at: contiguous(at, 24))) == "header-malformed"


@pytest.mark.parametrize(("shape", "nbytes"), [((7,), 24), ((7,), 28), ((2**40,), 2**42), ((6,), 23)])
def test_a_dataset_has_as_many_bytes_as_elements(shape, nbytes):
    kind = refused(one_dataset(shape, lambda at: contiguous(10**9, nbytes)))
    assert kind in ("header-malformed", "span-out-of-file")


@pytest.mark.parametrize("address", [0, 40, 72, 100])
def test_a_dataset_in_the_metadata_is_refused(address):
    assert refused(one_dataset((6,), lambda _: contiguous(address, 24))) == "span-overlap"


def test_datasets_that_share_bytes_are_spans_and_views():
    writer = Writer()
    at = writer.put(bytes(24))
    first, second = writer.dataset((6,), contiguous(at, 24)), writer.dataset((2, 2), contiguous(at + 4, 16))
    layout = FORMAT.layout(BytesFile(writer.finish(writer.group(a=first, b=first, c=second))))
    assert [span.spec.name for span in layout.tensors] == ["a"]
    assert sorted(view.spec.name for view in layout.views) == ["b", "c"]


def test_two_links_of_one_name_are_refused():
    writer = Writer()
    at = writer.put(bytes(8))
    dataset = writer.dataset((2,), contiguous(at, 8))
    root = writer.header(link("x", dataset), link("x", dataset))
    assert refused(writer.finish(root)) == "name-duplicate"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb", "\x7f", "\u2028"])
def test_a_name_that_is_none_is_refused(name):
    writer = Writer()
    root = writer.header((LINK, struct.pack("<BBB", 1, 0, len(name.encode())) + name.encode() + bytes(8)))
    assert refused(writer.finish(root)) == "header-malformed"


def test_more_links_than_memory_are_refused(monkeypatch):
    monkeypatch.setattr(hdf5_blocks, "_MEMORY_NBYTES", 4_000_000)
    writer = Writer()
    at = writer.put(bytes(8))
    dataset = writer.dataset((2,), contiguous(at, 8))
    data = writer.finish(writer.header(*(link(f"{number:05x}", dataset) for number in range(30_000))))
    tracemalloc.start()
    try:
        assert refused(data) == "too-many-tensors"
        assert tracemalloc.get_traced_memory()[1] < 24_000_000
    finally:
        tracemalloc.stop()


def test_more_messages_than_any_header_has_are_refused():
    writer = Writer()
    dataset = writer.dataset((0,), contiguous(0, 0))
    root = writer.header(*(link(f"{number:05x}", dataset) for number in range(100_001)))
    assert refused(writer.finish(root)) == "header-malformed"


@pytest.mark.parametrize("chunk", [(1, 4), (2**31, 4), (6, 8), (0, 4), (4,)])
def test_chunks_that_nobody_could_list_are_not_listed(chunk):
    data = one_dataset((2**40,), lambda _: chunked(48, *chunk))
    started = time.process_time()
    try:
        assert names(data) == []
    except FormatError as error:
        assert error.kind == "header-malformed"
    assert time.process_time() - started < 1


def test_a_grid_without_chunks_is_not_listed():
    writer = Writer()
    space = struct.pack("<BBBB4Q", 2, 2, 1, 1, 4, 4, 2**60, 0)
    layout = struct.pack("<BBBBBBBBBQ", 4, 2, 0, 3, 1, 2, 2, 4, 2, writer.put(bytes(64)))
    dataset = writer.header((DATASPACE, space), (DATATYPE, F32), (LAYOUT, layout))
    assert names(writer.finish(writer.group(x=dataset))) == []


@pytest.mark.parametrize("message", [DATASPACE, DATATYPE, LAYOUT])
@pytest.mark.parametrize("nbytes", range(12))
def test_a_message_that_is_cut_short_is_refused(message, nbytes):
    writer = Writer()
    whole = {DATASPACE: dataspace(2), DATATYPE: F32, LAYOUT: contiguous(writer.put(bytes(8)), 8)}
    root = writer.group(x=writer.header(*((whole | {message: whole[message][:nbytes]}).items())))
    if nbytes < len(whole[message]):
        assert refused(writer.finish(root)) == "header-malformed"


def tree_of_chunks(level: int, origins: list[tuple[int, ...]], address: int, child: int | None = None) -> bytes:
    """Return a file of one dataset of 4 elements, in chunks of 2, whose index has these entries."""
    writer = Writer()
    at = writer.put(bytes(16))
    tree = len(writer.data)
    entries = b"".join(struct.pack("<IIQQQ", 8, 0, *origin, 0, (tree if child else at) + address) for origin in origins)
    writer.put(b"TREE" + struct.pack("<BBH16x", 1, level, len(origins)) + entries + bytes(24))
    return writer.finish(writer.group(x=writer.dataset((4,), chunked(tree, 2, 4))))


def test_chunks_make_up_a_dataset():
    layout = FORMAT.layout(BytesFile(tree_of_chunks(0, [(2,), (0,)], 0)))
    (view,) = layout.views
    assert [(box.origin, box.shape) for box in view.boxes] == [((0,), (2,)), ((2,), (2,))]


@pytest.mark.parametrize("origins", [[], [(0,)], [(0,), (0,)], [(0,), (1,)], [(0,), (4,)], [(0,), (2**63,)]])
def test_a_dataset_of_which_chunks_are_missing_stays_bytes(origins):
    assert names(tree_of_chunks(0, origins, 0)) == []


def test_an_index_in_itself_is_refused():
    assert refused(tree_of_chunks(1, [(0,)], 0, child=1)) == "header-malformed"
    assert refused(tree_of_chunks(0, [(0,), (2,)], 2**62)) == "span-out-of-file"


@pytest.mark.parametrize("datatype", [bytes(20), F32[:8], F32[:9], b"\x19" + F32[1:], b"\x16" + F32[1:]])
def test_an_odd_datatype_is_no_reason_to_fail(datatype):
    data = one_dataset((6,), lambda at: contiguous(at, 24), datatype)
    try:
        assert names(data) == []
    except FormatError as error:
        assert error.kind == "header-malformed"


def hollow(data: bytes, layout: Layout) -> HollowFile:
    """Return a file of which the skeleton and the parts are at hand, and no tensors."""
    spans = layout.tensors

    def read_part(number: int, start: int, stop: int) -> bytes:
        return data[spans[number].offset + start : spans[number].offset + stop]

    skeleton = Skeleton.parse(build_skeleton(BytesFile(data), layout))
    return HollowFile(skeleton, [span.spec.nbytes for span in spans], read_part, lambda number: spans[number].part)


@pytest.mark.parametrize("name", ["hdf5/layouts.h5", "hdf5/layouts-latest.h5", "hdf5/many-latest.h5", "keras/adam.h5"])
def test_what_is_read_of_an_altered_file_is_read_without_its_tensors(name):
    data = (GOLDEN / name).read_bytes()
    choices = random.Random(0)
    accepted = 0
    for _ in range(400):
        altered = bytearray(data)
        for _ in range(choices.randint(1, 3)):
            altered[choices.randrange(len(data))] = choices.choice((0, 1, 8, 0x40, 0xFF, choices.randrange(256)))
        try:
            layout = FORMAT.layout(BytesFile(altered))
        except FormatError:
            continue
        accepted += 1
        check_spans(layout)
        assert reassembled(bytes(altered), layout) == altered
        assert FORMAT.layout(hollow(bytes(altered), layout)) == layout
        for view in layout.views:
            assert sum(map(len, read_view(BytesFile(altered), view))) == view.spec.nbytes
    assert accepted > 50
