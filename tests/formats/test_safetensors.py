"""Safetensors: the suite, and never more than the reference library accepts, nor anything else than it reads."""

from __future__ import annotations

import json
import random
import string
import time
import tracemalloc

import numpy as np
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.formats.safetensors.reader import SafetensorsFormat
from lamella.testing.formats import BASE_MEMORY_NBYTES, FormatSuite

FORMAT = SafetensorsFormat()

CODES = {
    "BOOL": ("bool", 8),
    "F4": ("f4_e2m1", 4),
    "F6_E2M3": ("f6_e2m3", 6),
    "F6_E3M2": ("f6_e3m2", 6),
    "U8": ("u8", 8),
    "I8": ("i8", 8),
    "F8_E5M2": ("f8_e5m2", 8),
    "F8_E4M3": ("f8_e4m3", 8),
    "F8_E8M0": ("f8_e8m0", 8),
    "F8_E4M3FNUZ": ("f8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("f8_e5m2fnuz", 8),
    "I16": ("i16", 16),
    "U16": ("u16", 16),
    "F16": ("f16", 16),
    "BF16": ("bf16", 16),
    "I32": ("i32", 32),
    "U32": ("u32", 32),
    "F32": ("f32", 32),
    "C64": ("c64", 64),
    "F64": ("f64", 64),
    "I64": ("i64", 64),
    "U64": ("u64", 64),
}


def file_of(header: bytes | dict, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(code: str, shape: list[int], start: int, end: int) -> dict:
    return {"dtype": code, "shape": shape, "data_offsets": [start, end]}


def contents(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]] | None:
    """What we read from a file: dtype, shape and bytes by name; None where we refuse it."""
    try:
        layout = FORMAT.layout(BytesFile(data))
    except FormatError:
        return None
    return {
        span.spec.name: (span.spec.dtype.name, span.spec.shape, data[span.offset :][: span.spec.nbytes])
        for span in layout.tensors
    }


def reference_contents(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]] | None:
    """What the reference library reads from a file; None where it refuses it."""
    try:
        tensors = safetensors.deserialize(data)
    except safetensors.SafetensorError:
        return None
    return {
        name: (CODES[tensor["dtype"]][0], tuple(tensor["shape"]), bytes(tensor["data"])) for name, tensor in tensors
    }


def check_against_reference(data: bytes) -> bool:
    """Check that what we accept the reference reads alike; say whether we accept it."""
    ours = contents(data)
    if ours is not None:
        assert reference_contents(data) == ours
    return ours is not None


SAMPLE = file_of(
    {
        "__metadata__": {"format": "pt", "note": 'quote " slash \\ é \u2603'},
        "first.weight": entry("F32", [2, 3], 0, 24),
        "scalar": entry("I64", [], 24, 32),
        "é \u2603": entry("BF16", [4], 32, 40),
        "empty": entry("F16", [3, 0], 40, 40),
        "nibbles": entry("F4", [2, 3], 40, 43),
    },
    bytes(range(43)),
)


class TestSafetensors(FormatSuite):
    format = FORMAT
    mutations = 2000

    def files(self):
        rows = {f"layer.{index}.weight": np.full((3, index), index, np.float32) for index in range(12)}
        return [
            SAMPLE,
            save(rows, {"format": "np"}),
            file_of(b"{}"),
            file_of({"__metadata__": {}}),
            file_of(b"{ \n}\t"),
        ]


@pytest.mark.parametrize("code", CODES)
def test_every_dtype_of_the_reference_is_read(code):
    name, bits = CODES[code]
    data = file_of({"x": entry(code, [4, 2], 0, bits)}, bytes(range(bits)))
    assert contents(data) == {"x": (name, (4, 2), bytes(range(bits)))} == reference_contents(data)


@pytest.mark.parametrize(("code", "elements"), [("F4", 3), ("F6_E2M3", 2), ("F6_E3M2", 5)])
def test_elements_that_leave_part_of_a_byte_are_refused(code, elements):
    nbytes = (elements * CODES[code][1] + 7) // 8
    data = file_of({"x": entry(code, [elements], 0, nbytes)}, bytes(nbytes))
    assert contents(data) is None
    assert reference_contents(data) is None


def test_the_sample_is_read_as_the_reference_reads_it():
    assert check_against_reference(SAMPLE)
    layout = FORMAT.layout(BytesFile(SAMPLE))
    assert [span.spec.name for span in layout.tensors] == ["first.weight", "scalar", "é \u2603", "empty", "nibbles"]


def test_tensors_are_in_file_order_whatever_the_header_s_order():
    names = ["d", "empty b", "a", "empty a", "empty c"]
    spans = [(4, 8), (4, 4), (0, 4), (4, 4), (8, 8)]
    header = {name: entry("U8", [end - start], start, end) for name, (start, end) in zip(names, spans, strict=True)}
    order = ["a", "empty a", "empty b", "d", "empty c"]
    for seed in range(20):
        listed = random.Random(seed).sample(names, len(names))
        layout = FORMAT.layout(BytesFile(file_of({name: header[name] for name in listed}, bytes(8))))
        assert [span.spec.name for span in layout.tensors] == order


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"data_offsets":[0,2],"dtype":"U8","shape":[2]}}      ',
        b'{ "a" : {\n\t"shape" : [ 2 ] ,\r\n"dtype" : "U8" , "data_offsets" : [ 0 , 2 ] } }\n',
        b'{"\\u0061\\ud83d\\ude00\\/":{"dtype":"U8","shape":[1,2,1],"data_offsets":[0,2]}}',
        b'{"__metadata__":{"":"","k\\n":"\\n\\u0000\\ud83d\\ude00"},"":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
        b'{"__meta\\u0064ata__":{"k":"v"},"a b":{"dtype":"I16","shape":[],"data_offsets":[0,2]}}',
        b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"__metadata__":{}}',
        b'{"a":{"dtype":"I16","shape":[1%b],"data_offsets":[0,2]}}' % (b",1" * 63),
    ],
)
def test_every_way_to_write_a_header_is_read(header):
    assert check_against_reference(file_of(header, b"xy"))


name_texts = st.text('ab._/ "\\{}é\u2603\U0001f600', max_size=12)


@st.composite
def valid_files(draw):
    """A file as any writer might make it: fields, names and blanks in any order, of any dtype."""
    header, end = {}, 0
    if draw(st.booleans()):
        header["__metadata__"] = draw(st.dictionaries(name_texts, st.text(string.printable, max_size=9), max_size=3))
    for name in draw(st.lists(name_texts.filter(lambda name: name != "__metadata__"), unique=True, max_size=6)):
        code = draw(st.sampled_from(list(CODES)))
        shape = draw(st.lists(st.integers(0, 4), max_size=4)) + ([8] if CODES[code][1] < 8 else [])
        nbytes = int(np.prod(shape, dtype=int)) * CODES[code][1] // 8
        fields = list(entry(code, shape, end, end + nbytes).items())
        header[name] = dict(draw(st.permutations(fields)))
        end += nbytes
    text = json.dumps(
        dict(draw(st.permutations(list(header.items())))),
        indent=draw(st.none() | st.integers(0, 2)),
        ensure_ascii=draw(st.booleans()),
    )
    padded = text.encode() + b" " * draw(st.integers(0, 9))
    return file_of(padded, random.Random(draw(st.integers(0, 99))).randbytes(end))


@settings(max_examples=200)
@given(data=valid_files())
def test_every_valid_file_is_accepted_and_read_as_the_reference_reads_it(data):
    assert check_against_reference(data)


@settings(max_examples=300)
@given(data=valid_files(), changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=2)), min_size=1, max_size=3))
def test_what_is_accepted_of_altered_files_the_reference_reads_alike(data, changes):
    altered = bytearray(data)
    for where, replacement in changes:
        at = 8 + int(where * (len(altered) - 8))
        altered[at : at + 1] = replacement
    length = int.from_bytes(altered[:8], "little") + len(altered) - len(data)
    for header_nbytes in (int.from_bytes(data[:8], "little"), max(length, 0)):
        altered[:8] = header_nbytes.to_bytes(8, "little")
        check_against_reference(bytes(altered))


sizes = st.integers(-2, 9) | st.sampled_from([1 << 31, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1, 1 << 64, 10**30])
json_values = st.recursive(
    st.none() | st.booleans() | sizes | st.floats() | st.text("ab", max_size=3) | st.sampled_from(list(CODES)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=3),
    max_leaves=4,
)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["U8", "F4", "I16", "u8", "C128"]) | json_values,
        "shape": st.lists(sizes, max_size=3) | json_values,
        "data_offsets": st.tuples(st.integers(0, 9), st.integers(0, 9)) | st.lists(sizes, max_size=3) | json_values,
    },
    optional={"extra": json_values},
)


@settings(max_examples=500)
@given(
    header=st.dictionaries(st.sampled_from(["__metadata__", "a", "b", "c"]), entries | json_values, max_size=3),
    nbytes=st.integers(0, 9),
)
def test_what_is_accepted_of_wild_headers_the_reference_reads_alike(header, nbytes):
    check_against_reference(file_of(header, bytes(nbytes)))


@settings(max_examples=300)
@given(body=st.binary(max_size=60), nbytes=st.integers(0, 70))
def test_what_is_accepted_of_any_bytes_the_reference_reads_alike(body, nbytes):
    check_against_reference(body)
    check_against_reference(nbytes.to_bytes(8, "little") + b"{" + body)


def header_of(count: int, shape: bytes) -> bytes:
    entries = b",".join(
        b'"model.layers.%06d.self_attn.q_proj.weight":{"dtype":"F32","shape":[%b],"data_offsets":[0,0]}'
        % (index, shape.replace(b"N", b"%d" % index))
        for index in range(count)
    )
    return file_of(b"{" + entries + b"}")


def test_fifty_thousand_tensors_are_read_in_a_moment():
    file = BytesFile(header_of(50_000, b"4,0"))
    started = time.process_time()
    assert len(FORMAT.layout(file).tensors) == 50_000
    assert time.process_time() - started < 1.5


@pytest.mark.parametrize(
    ("count", "shape", "is_listed"),
    [(30_000, b"0", True), (12_000, b"0,N" + b",999" * 62, True), (25_000, b"0,N" + b",999" * 62, False)],
)
def test_what_a_header_lists_takes_bounded_memory_or_is_refused(count, shape, is_listed):
    data = header_of(count, shape)
    file = BytesFile(data)
    tracemalloc.start()
    try:
        assert len(FORMAT.layout(file).tensors) == count
    except FormatError as error:
        assert error.kind == "too-many-tensors"
        assert not is_listed
    else:
        assert is_listed
    finally:
        peak_nbytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak_nbytes <= BASE_MEMORY_NBYTES + 2 * int.from_bytes(data[:8], "little")
