"""TensorFlow checkpoints: the golden ones, and indexes that lie."""

from __future__ import annotations

import json
import random
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.formats.tensorflow.checkpoint import TensorflowCheckpointFormat
from lamella.testing.formats import BASE_MEMORY_NBYTES, check_spans, reassembled
from tests.formats.beside import GOLDEN, beside, contents, folder_of

FORMAT = TensorflowCheckpointFormat()
EXPECTED = json.loads((GOLDEN / "tf_checkpoint.json").read_text())
DATA = "x.data-00000-of-00001"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
F32, STRING = 1, 7


def varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def entry(dtype: int, shape: tuple[int, ...], offset: int, nbytes: int, shard: int = 0, more: bytes = b"") -> bytes:
    axes = b"".join(message(2, number(1, n)) for n in shape)
    return (
        (number(1, dtype) + message(2, axes) + number(3, shard) + number(4, offset) + number(5, nbytes))
        + b"\x35abcd"
        + more
    )


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    made = b""
    last = b""
    for key, value in entries:
        shared = next((n for n in range(min(len(last), len(key)), 0, -1) if last[:n] == key[:n]), 0)
        made += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return made + bytes(4) + (1).to_bytes(4, "little")


def table(*blocks: bytes) -> bytes:
    made = b""
    handles = []
    for number_, one in enumerate(blocks):
        handles.append((b"%06d" % number_, varint(len(made)) + varint(len(one))))
        made += one + bytes(5)
    handle = varint(len(made)) + varint(len(block(handles)))
    made += block(handles) + bytes(5)
    return made + (bytes(2) + handle).ljust(40, b"\0") + 0xDB4775248B80FB57.to_bytes(8, "little")


HEADER = number(1, 1) + message(3, number(1, 1))


def index(entries: dict[str | bytes, bytes], header: bytes = HEADER) -> bytes:
    keyed = {key.encode() if isinstance(key, str) else key: value for key, value in entries.items()}
    return table(block([(b"", header), *sorted(keyed.items())]))


def layout_of(data: bytes, description: bytes, name: str = DATA):
    return FORMAT.layout(BytesFile(data), beside(name, {"x.index": description, name: data}))


def test_rows_in_slices_that_lie_back_to_back_are_a_span_and_columns_a_view():
    file = GOLDEN / "tf_checkpoint" / "sliced" / DATA.replace("x.", "model.")
    layout = FORMAT.layout(BytesFile(file.read_bytes()), beside(file.name, folder_of(file)))
    assert [span.spec.name for span in layout.tensors if not span.part] == ["plain", "rows"]
    assert [view.spec.name for view in layout.views] == ["columns"]


def test_without_an_index_nothing_is_described():
    assert FORMAT.layout(BytesFile(b"abc"), beside(DATA, {DATA: b"abc"})) is None
    for name in ["x.data", "x.data-00000-of-1", ".data-00000-of-00001", "x.data-00000-of-00001.tmp"]:
        assert layout_of(b"", index({}), name) is None


def test_names_lose_the_suffix_unless_it_tells_two_apart():
    listed = {"a" + SUFFIX: entry(F32, (1,), 0, 4), "a": entry(F32, (1,), 4, 4), "b" + SUFFIX: entry(F32, (), 8, 4)}
    layout = layout_of(bytes(12), index(listed))
    assert [span.spec.name for span in layout.tensors] == ["a" + SUFFIX, "a", "b"]


def test_only_the_tensors_of_this_file_are_listed():
    header = number(1, 2)
    listed = {"a": entry(F32, (1,), 0, 4), "b": entry(F32, (1,), 0, 4, shard=1)}
    for shard, name in enumerate("ab"):
        layout = layout_of(bytes(4), index(listed, header), f"x.data-0000{shard}-of-00002")
        assert [span.spec.name for span in layout.tensors] == [name]
    with pytest.raises(FormatError) as caught:
        layout_of(bytes(4), index(listed, header))
    assert caught.value.kind == "header-malformed"


def test_big_endian_tensors_are_swapped():
    values = np.arange(6, dtype=">f4").reshape(2, 3)
    layout = layout_of(values.tobytes(), index({"a": entry(F32, (2, 3), 0, 24)}, HEADER + number(2, 1)))
    expected = contents(values.astype("<f4").tobytes(), layout_of(bytes(24), index({"a": entry(F32, (2, 3), 0, 24)})))
    assert expected["a"][:2] == ["f32", [2, 3]]
    (view,) = layout.views
    assert view.swapped
    little = values.astype("<f4").tobytes()
    assert contents(values.tobytes(), layout) == contents(
        little, layout_of(little, index({"a": entry(F32, (2, 3), 0, 24)}))
    )


def test_strings_stay_in_the_skeleton():
    layout = layout_of(b"\3one" + bytes(4), index({"s": entry(STRING, (), 0, 4), "a": entry(F32, (1,), 4, 4)}))
    assert [(span.spec.name, span.offset) for span in layout.tensors] == [("a", 4)]


def signed(value: int) -> bytes:
    """A number as TensorFlow's ordered code writes it."""
    bits = value if value >= 0 else ~value
    nbytes = bits.bit_length() // 7 + 1
    marked = bits | ((1 << nbytes) - 1) << 7 * nbytes
    made = marked & (1 << 8 * nbytes) - 1
    return (made if value >= 0 else made ^ (1 << 8 * nbytes) - 1).to_bytes(nbytes, "big")


def slice_key(name: str, extents: list[tuple[int, int]]) -> bytes:
    escaped = name.encode().replace(b"\xff", b"\xff\0").replace(b"\0", b"\0\xff")
    rank = bytes([1, len(extents)]) if extents else b"\0"
    return b"\0" + escaped + b"\0\1" + rank + b"".join(signed(start) + signed(n) for start, n in extents)


@given(
    cuts=st.lists(st.integers(1, 10**6), min_size=1, max_size=4),
    width=st.integers(1, 70),
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5),
)
def test_slices_of_any_length_are_one_tensor(cuts, width, name):
    listed: dict[bytes, bytes] = {}
    start = offset = 0
    for n in cuts:
        nbytes = 4 * n * width
        listed[slice_key(name, [(start, n), (0, -1)])] = entry(F32, (n, width), offset, nbytes)
        start, offset = start + n, offset + nbytes

    class Long:
        nbytes = offset

        def read_at(self, offset, nbytes):
            raise AssertionError("tensors are not read")

    whole = entry(F32, (start, width), 0, 0, more=message(7, b""))
    description = index({name: whole, **listed})
    layout = FORMAT.layout(Long(), beside(DATA, {"x.index": description}))
    (span,) = layout.tensors
    assert (span.spec.name, span.spec.shape, span.offset) == (name, (start, width), 0)


@pytest.mark.parametrize(
    "extents",
    [
        [(0, 2), (1, 3)],  # they overlap, and nothing has the last row
        [(0, 2), (3, 1), (3, 1)],
        [(0, 2)],
        [(1, 3)],
    ],
)
def test_slices_that_do_not_follow_each_other_are_tensors_of_their_own(extents):
    listed = {slice_key("w", [one]): entry(F32, (one[1],), 0, 4 * one[1]) for one in extents}
    layout = layout_of(bytes(16), index({"w": entry(F32, (4,), 0, 0, more=message(7, b"")), **listed}))
    found = sorted(one.spec.name for one in [*layout.tensors, *layout.views])
    assert found == sorted(f"w[{start}:{start + n}]" for start, n in set(extents))


GOOD = {"a": entry(F32, (2, 3), 0, 24), "b": entry(F32, (), 24, 4)}


@pytest.mark.parametrize(
    ("description", "kind"),
    [
        (b"", "header-malformed"),
        (index(GOOD)[:-1], "header-malformed"),
        (index(GOOD)[1:], "header-malformed"),
        (table(block([(b"", HEADER)])[:-4] + b"\xff\xff\xff\xff"), "header-malformed"),
        (table(block([(b"", HEADER), (b"a", GOOD["a"]), (b"a", GOOD["a"])])), "header-malformed"),
        (table(block([(b"", HEADER), (b"b", GOOD["b"]), (b"a", GOOD["a"])])), "header-malformed"),
        (table(block([(b"a", GOOD["a"])])), "header-malformed"),
        (table(b"\5\1\1ab" + bytes(8)), "header-malformed"),
        (table(b"\0\xff\xff\xff\xff\xff\xff\xff\xff\x7f\1" + bytes(8)), "header-malformed"),
        (index({"a": entry(F32, (2, 3), 8, 24)}), "span-out-of-file"),
        (index({"a": entry(F32, (2, 3), 2**62, 24)}), "span-out-of-file"),
        (index({"a": entry(F32, (2, 3), 2**63 + 5, 24)}), "header-malformed"),
        (index({"a": entry(F32, (2, 4), 0, 24)}), "header-malformed"),
        (index({"a": entry(F32, (2**32, 2**32), 0, 0)}), "header-malformed"),
        (index({"a": entry(F32, (2**64 - 1,), 0, 24)}), "header-malformed"),
        (index({"a": entry(F32, (1,) * 65, 0, 4)}), "header-malformed"),
        (index({"a" * 9000: GOOD["a"]}), "header-malformed"),
        (index({b"\xff\xfe": GOOD["a"]}), "header-malformed"),
        (index({"a\nb": GOOD["a"]}), "header-malformed"),
        (index({b"\0w": GOOD["a"]}), "header-malformed"),
        (index({b"\0w\0\1\1\1": GOOD["a"]}), "header-malformed"),
        (index({b"\0w\0\1\1\1\xff\xff\xff": GOOD["a"]}), "header-malformed"),
        (index({slice_key("w", [(0, 3)]): GOOD["a"]}), "header-malformed"),
        (
            index({"w": entry(9, (3,), 0, 0, more=message(7, b"")), slice_key("w", [(0, 3)]): entry(F32, (3,), 0, 12)}),
            "header-malformed",
        ),
        (index({"a": b"\x0b"}), "header-malformed"),
        (index({"a": b"\x12\xff\x01"}), "header-malformed"),
        (index({"a": b"\x12"}), "header-malformed"),
        (index({"a": message(1, b"x")}), "header-malformed"),
        (index({"a": number(2, 1)}), "header-malformed"),
    ],
)
def test_an_index_that_lies_is_refused(description, kind):
    with pytest.raises(FormatError) as caught:
        layout_of(bytes(28), description)
    assert caught.value.kind == kind


def test_compressed_blocks_are_refused():
    made = bytearray(index(GOOD))
    made[made.index(block([(b"", HEADER), *((k.encode(), v) for k, v in GOOD.items())])[-8:]) + 8] = 1
    with pytest.raises(FormatError, match="compressed"):
        layout_of(bytes(28), bytes(made))


def test_a_block_that_is_listed_twice_is_read_once():
    one = block([(b"", HEADER)])
    handle = varint(0) + varint(len(one))
    listed = block([(b"%06d" % n, handle) for n in range(1000)])
    made = one + bytes(5) + listed + bytes(5)
    made += (bytes(2) + varint(len(one) + 5) + varint(len(listed))).ljust(40, b"\0") + index({})[-8:]
    with pytest.raises(FormatError, match="one behind the other"):
        layout_of(b"", made)


def test_long_names_that_differ_in_a_letter_stop_at_a_bound():
    value = entry(F32, (0,), 0, 0)
    made = bytearray(b"\0\0" + varint(len(HEADER)) + HEADER + b"\0" + varint(8000) + varint(len(value)))
    made += b"a" * 8000 + value
    for n in range(100_000):
        made += varint(7997) + b"\3" + varint(len(value)) + n.to_bytes(3, "big") + value
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(FormatError):
        layout_of(b"", table(bytes(made) + bytes(4) + (1).to_bytes(4, "little")))
    assert time.process_time() - started < 10
    assert tracemalloc.get_traced_memory()[1] < BASE_MEMORY_NBYTES + 6 * len(made)
    tracemalloc.stop()


@pytest.mark.parametrize("key_nbytes", [16_000, 1_000_000])
def test_long_keys_of_many_blocks_stop_at_a_bound(key_nbytes):
    blocks = 20_000
    made = b"\0" + varint(key_nbytes) + b"\2" + bytes(key_nbytes) + b"\0\4"
    for n in range(1, blocks):
        handle = varint(4 * n) + b"\4"
        made += varint(key_nbytes - 1) + b"\1" + varint(len(handle)) + b"\0" + handle
    handle = varint(4 * blocks + 5) + varint(len(made) + 4)
    description = bytes(4 * blocks + 5) + made + bytes(4 + 5) + (bytes(2) + handle).ljust(40, b"\0") + index({})[-8:]
    started = time.process_time()
    with pytest.raises(FormatError):
        layout_of(b"", description)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("path", EXPECTED)
def test_an_altered_index_describes_soundly_or_is_refused(path):
    file = GOLDEN / "tf_checkpoint" / path
    data, files = file.read_bytes(), folder_of(file)
    name = file.name.split(".")[0] + ".index"
    choices = random.Random(path)
    for _ in range(1500):
        altered = bytearray(files[name])
        for _ in range(choices.randint(1, 4)):
            at = choices.randrange(len(altered))
            altered[at : at + choices.randint(0, 2)] = choices.randbytes(choices.randint(0, 2))
        try:
            layout = FORMAT.layout(BytesFile(data), beside(file.name, {**files, name: bytes(altered)}))
        except FormatError:
            continue
        assert layout is not None
        check_spans(layout)
        assert reassembled(data, layout) == data
        contents(data, layout)


def test_fifty_thousand_tensors_are_read_at_once():
    names = [f"model/layer_{n:05d}/kernel" for n in range(50_000)]
    entries = [(b"", HEADER), *((n.encode(), entry(F32, (4, 4), 64 * k, 64)) for k, n in enumerate(names))]
    description = table(*(block(entries[start : start + 1000]) for start in range(0, len(entries), 1000)))
    started = time.process_time()
    layout = layout_of(bytes(64 * 50_000), description)
    assert time.process_time() - started < 5
    assert [span.spec.name for span in layout.tensors] == names
