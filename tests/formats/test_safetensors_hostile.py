"""Hostile safetensors files, each by its name, the kind of its refusal, and the memory that the refusal takes."""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import pytest
import safetensors

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_SAFETENSORS_HEADER_NBYTES
from lamella.formats.file import BytesFile
from lamella.formats.safetensors.reader import SafetensorsFormat
from lamella.formats.sniff import read_layout
from lamella.testing.formats import BASE_MEMORY_NBYTES

FORMAT = SafetensorsFormat()


def file_of(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def one(dtype: bytes = b'"U8"', shape: bytes = b"[2]", offsets: bytes = b"[0,2]", name: bytes = b'"a"') -> bytes:
    """A file with one tensor of two bytes, less whatever the arguments make of it."""
    return file_of(b'{%b:{"dtype":%b,"shape":%b,"data_offsets":%b}}' % (name, dtype, shape, offsets), b"xy")


def two(first: bytes, second: bytes, nbytes: int = 4) -> bytes:
    """A file with tensors a and b, each of two bytes, at the offsets given."""
    entries = b",".join(
        b'"%b":{"dtype":"U8","shape":[2],"data_offsets":%b}' % (name, offsets)
        for name, offsets in ((b"a", first), (b"b", second))
    )
    return file_of(b"{" + entries + b"}", bytes(nbytes))


def metadata(value: bytes) -> bytes:
    return file_of(b'{"__metadata__":%b}' % value)


A = b'"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
VALID = one()

MALFORMED = {
    "a header of no bytes": file_of(b""),
    "a header of blanks": file_of(b"    "),
    "a blank before the brace": file_of(b" {}"),
    "a byte order mark": file_of(b"\xef\xbb\xbf{}"),
    "UTF-16": file_of("{}".encode("utf-16")),
    "a root that is null": file_of(b"null"),
    "a root that is a number": file_of(b"1"),
    "a root that is a string": file_of(b'"{}"'),
    "a root that is a list": file_of(b"[]"),
    "an unclosed root": file_of(b"{"),
    "an unclosed entry": file_of(b"{" + A[:-1] + b"}"),
    "a comma before the first member": file_of(b"{," + A + b"}"),
    "a comma behind the last member": file_of(b"{" + A + b",}"),
    "two commas": file_of(b"{" + A + b",," + A.replace(b"a", b"b", 1) + b"}"),
    "no comma": file_of(b"{" + A + A.replace(b"a", b"b", 1) + b"}"),
    "no colon": file_of(b'{"a"{}}'),
    "a second root": file_of(b"{}{}"),
    "text behind the root": file_of(b"{} x"),
    "NUL behind the root": file_of(b"{}\0"),
    "a form feed behind the root": file_of(b"{}\f"),
    "a comment": file_of(b"{/**/}"),
    "single quotes": file_of(A.replace(b'"', b"'")),
    "a name without quotes": file_of(b"{" + A.replace(b'"a"', b"a") + b"}"),
    "bytes that are not UTF-8": one(name=b'"\xff"'),
    "an overlong encoding": one(name=b'"\xc0\xaf"'),
    "an encoded surrogate": one(name=b'"\xed\xa0\x80"'),
    "UTF-8 that ends inside a character": file_of(b"{}\xe2\x98"),
    "a lone high surrogate": one(name=b'"\\ud800"'),
    "a lone low surrogate": one(name=b'"\\uDC00"'),
    "a high surrogate before another character": one(name=b'"\\ud800\\u0041"'),
    "two high surrogates": one(name=b'"\\ud800\\ud800"'),
    "a lone surrogate in the metadata": metadata(b'{"k":"\\ud800"}'),
    "an unknown escape": one(name=b'"\\x41"'),
    "a cut escape": one(name=b'"\\u00"'),
    "NUL in a name": one(name=b'"a\0b"'),
    "an escaped NUL in a name": one(name=b'"a\\u0000b"'),
    "a line feed in a name": one(name=b'"a\nb"'),
    "an escaped line feed in a name": one(name=b'"a\\nb"'),
    "an escape sequence in a name": one(name=b'"\\u001b[2J"'),
    "a C1 control in a name": one(name='"\x9b2J"'.encode()),
    "a line separator in a name": one(name='"a\u2028b"'.encode()),
    "a name of 8 KiB": one(name=b'"%b"' % (b"a" * 8192)),
    "a name of a megabyte": one(name=b'"%b"' % ("\U0001f600".encode() * 250_000)),
    "an entry that is null": file_of(b'{"a":null}'),
    "an entry that is a string": file_of(b'{"a":"U8"}'),
    "an entry that is a list": file_of(b'{"a":["U8",[0],[0,0]]}'),
    "an entry without fields": file_of(b'{"a":{}}'),
    "an entry without dtype": file_of(b'{"a":{"shape":[0],"data_offsets":[0,0]}}'),
    "an entry without shape": file_of(b'{"a":{"dtype":"U8","data_offsets":[0,0]}}'),
    "an entry without offsets": file_of(b'{"a":{"dtype":"U8","shape":[0]}}'),
    "an entry with a fourth field": file_of(b"{" + A[:-1] + b',"x":1}}'),
    "a dtype that is null": one(dtype=b"null"),
    "a dtype that is a number": one(dtype=b"1"),
    "a dtype of a megabyte": one(dtype=b'"%b"' % (b"U" * 1_000_000)),
    "a shape that is null": one(shape=b"null"),
    "a shape that is a number": one(shape=b"2"),
    "a shape that is a string": one(shape=b'"2"'),
    "a shape that is an object": one(shape=b"{}"),
    "a shape with a comma at its end": one(shape=b"[2,]"),
    "an extent that is negative": one(shape=b"[-2]"),
    "an extent that is minus zero": one(shape=b"[-0]", offsets=b"[0,0]"),
    "an extent with a plus": one(shape=b"[+2]"),
    "an extent that is a float": one(shape=b"[2.0]"),
    "an extent with an exponent": one(shape=b"[2e0]"),
    "an extent of 1e999": one(shape=b"[1e999]"),
    "an extent that is NaN": one(shape=b"[NaN]"),
    "an extent that is Infinity": one(shape=b"[Infinity]"),
    "an extent that is true": one(shape=b"[true]"),
    "an extent that is null": one(shape=b"[null]"),
    "an extent that is a string": one(shape=b'["2"]'),
    "an extent with a leading zero": one(shape=b"[02]"),
    "an extent in hexadecimal": one(shape=b"[0x2]"),
    "an extent with an underscore": one(shape=b"[1_0]"),
    "an extent in Arabic digits": one(shape="[٢]".encode()),
    "an extent of 2**62 + 1": one(shape=b"[%d]" % (2**62 + 1)),
    "an extent of 2**63": one(shape=b"[%d]" % 2**63),
    "an extent of 2**64 - 1": one(shape=b"[%d]" % (2**64 - 1)),
    "an extent of 2**64 + 2": one(shape=b"[%d]" % (2**64 + 2)),
    "an extent of 100,000 digits": one(shape=b"[%b]" % (b"9" * 100_000)),
    "extents whose product wraps to the right length": one(shape=b"[%d,%d,2]" % (2**32 + 1, 2**32 - 1)),
    "extents whose product is 2**64": one(shape=b"[%d,%d]" % (2**32, 2**32), offsets=b"[0,0]"),
    "extents whose product overflows before a zero": one(shape=b"[%d,%d,0]" % (2**40, 2**40), offsets=b"[0,0]"),
    "65 dimensions": one(shape=b"[2%b]" % (b",1" * 64)),
    "a million dimensions": one(shape=b"[2%b]" % (b",1" * 1_000_000)),
    "blanks without end in a shape": one(shape=b"[2%b]" % (b" " * 1_000_000)),
    "offsets that are null": one(offsets=b"null"),
    "offsets that are an object": one(offsets=b"{}"),
    "no offsets": one(offsets=b"[]"),
    "one offset": one(offsets=b"[0]"),
    "three offsets": one(offsets=b"[0,2,4]"),
    "offsets that are negative": one(offsets=b"[-2,0]"),
    "offsets the wrong way round": one(offsets=b"[2,0]"),
    "offsets of 2**63": one(offsets=b"[%d,%d]" % (2**63, 2**63 + 2)),
    "offsets of 100,000 digits": one(offsets=b"[0,%b]" % (b"1" * 100_000)),
    "a span too long for the shape": one(offsets=b"[0,3]"),
    "a span too short for the shape": one(offsets=b"[0,1]"),
    "a span that leaves part of a byte": one(dtype=b'"F4"', shape=b"[3]"),
    "a hole before the first tensor": one(offsets=b"[1,3]"),
    "a hole between tensors": two(b"[0,2]", b"[3,5]", 5),
    "an empty tensor behind the end": file_of(b"{" + A.replace(b"[0,0]", b"[5,5]") + b"}"),
    "a byte behind the last tensor": two(b"[0,2]", b"[2,4]", 5),
    "bytes and no tensor": file_of(b"{}", b"data"),
    "metadata that is null": metadata(b"null"),
    "metadata that is a list": metadata(b"[]"),
    "metadata that is a string": metadata(b'"x"'),
    "a metadata value that is a number": metadata(b'{"k":1}'),
    "a metadata value that is null": metadata(b'{"k":null}'),
    "a metadata value that is a list": metadata(b'{"k":["v"]}'),
    "a metadata value that is an object": metadata(b'{"k":{"l":"v"}}'),
    "metadata that is a tensor": metadata(b'{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'),
    "a control character in the metadata": metadata(b'{"k":"a\nb"}'),
    "objects in objects": file_of(b'{"a":' * 100_000),
}

OTHERS = {
    "no file": (b"", "file-truncated"),
    "half a length": (bytes(4), "file-truncated"),
    "a length and nothing else": (b"\x02" + bytes(7), "file-truncated"),
    "a header longer than the file": (file_of(b"{}", length=3), "file-truncated"),
    "a header of the longest length allowed": (
        file_of(b"{}", length=MAX_SAFETENSORS_HEADER_NBYTES),
        "file-truncated",
    ),
    "a header longer than allowed": (file_of(b"{}", length=MAX_SAFETENSORS_HEADER_NBYTES + 1), "header-too-large"),
    "a length of 2**63": (file_of(b"{}", length=2**63), "header-too-large"),
    "a length of 2**64 - 1": (file_of(b"{}", length=2**64 - 1), "header-too-large"),
    "a name twice": (file_of(b"{" + A + b"," + A + b"}"), "name-duplicate"),
    "a name twice at two places": (
        two(b"[0,2]", b"[2,4]").replace(b'"b"', b'"a"'),
        "name-duplicate",
    ),
    "a name twice, once escaped": (
        file_of(b"{" + A + b"," + A.replace(b'"a"', b'"\\u0061"') + b"}"),
        "name-duplicate",
    ),
    "a dtype twice": (file_of(b"{" + A[:-1] + b',"dtype":"U8"}}'), "name-duplicate"),
    "a shape twice": (file_of(b"{" + A[:-1] + b',"shape":[0]}}'), "name-duplicate"),
    "offsets twice": (file_of(b"{" + A[:-1] + b',"data_offsets":[0,0]}}'), "name-duplicate"),
    "metadata twice": (file_of(b'{"__metadata__":{},"__metadata__":{}}'), "name-duplicate"),
    "a metadata key twice": (metadata(b'{"k":"v","k":"v"}'), "name-duplicate"),
    "a metadata key twice, once escaped": (metadata(b'{"k":"v","\\u006B":"v"}'), "name-duplicate"),
    "an unknown dtype": (one(dtype=b'"F7"'), "dtype-unknown"),
    "a dtype in small letters": (one(dtype=b'"u8"'), "dtype-unknown"),
    "a dtype with a blank": (one(dtype=b'"U8 "'), "dtype-unknown"),
    "a dtype that is empty": (one(dtype=b'""'), "dtype-unknown"),
    "a dtype that is a list": (one(dtype=b"[8]"), "dtype-unknown"),
    "tensors that overlap": (two(b"[0,2]", b"[1,3]", 3), "span-overlap"),
    "tensors at one place": (two(b"[0,2]", b"[0,2]", 2), "span-overlap"),
    "a tensor that ends behind the file": (one()[:-1], "span-out-of-file"),
    "a tensor of 2**62 bytes": (one(shape=b"[%d]" % 2**62, offsets=b"[0,%d]" % 2**62), "span-out-of-file"),
    "lists in lists": (one(shape=b"[" * 1000 + b"]" * 1000), "header-too-deep"),
    "a list of objects": (one(offsets=b"[{}]"), "header-too-deep"),
    "a deep entry": (file_of(b'{"a":' + b"[" * 100_000), "header-too-deep"),
    "a deep root": (file_of(b"[" * 100_000), "header-too-deep"),
    "a deep metadata value": (metadata(b'{"k":%b}' % (b"[" * 100_000)), "header-too-deep"),
}

CASES = {name: (data, "header-malformed") for name, data in MALFORMED.items()} | OTHERS


def refusal(data: bytes) -> tuple[FormatError, int]:
    """Return the error and the peak of memory that reading `data` takes."""
    file = BytesFile(data)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError) as caught:
            FORMAT.layout(file)
        return caught.value, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_case_that_the_others_alter_is_valid():
    assert len(FORMAT.layout(BytesFile(VALID)).tensors) == 1
    assert len(FORMAT.layout(BytesFile(two(b"[0,2]", b"[2,4]"))).tensors) == 2
    assert len(CASES) > 100


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_refused_as_what_it_is(name):
    data, kind = CASES[name]
    error, peak_nbytes = refusal(data)
    assert error.kind == kind
    assert len(error.message) < 500
    assert error.message.isprintable()
    assert peak_nbytes <= 200_000 + 7 * len(data)


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_stored_as_opaque_bytes(name):
    data, _ = CASES[name]
    layout, _ = read_layout(BytesFile(data))
    assert (layout.format, sum(span.spec.nbytes for span in layout.tensors)) == ("opaque", len(data))


def test_the_reference_refuses_them_too_but_for_what_no_framework_writes():
    read_by_reference = set()
    for name, (data, _) in CASES.items():
        with contextlib.suppress(safetensors.SafetensorError):
            safetensors.deserialize(data)
            read_by_reference.add(name)
    assert read_by_reference == {
        "a blank before the brace",
        "an escaped NUL in a name",
        "an escaped line feed in a name",
        "an escape sequence in a name",
        "a C1 control in a name",
        "a line separator in a name",
        "a name of 8 KiB",
        "a name of a megabyte",
        "an entry that is a list",
        "an entry with a fourth field",
        "65 dimensions",
        "a million dimensions",
        "blanks without end in a shape",
        "metadata that is null",
        "a name twice",
        "a name twice, once escaped",
        "a metadata key twice",
        "a metadata key twice, once escaped",
    }


EMOJI = "\U0001f600".encode()
BOMBS = {
    "brackets": (lambda n: b"[" * n, "header-too-deep"),
    "brackets in an entry": (lambda n: b'{"a":' + b"[" * (n - 5), "header-too-deep"),
    "objects": (lambda n: b'{"a":' * (n // 5), "header-malformed"),
    "blanks": (lambda n: b"{" + b" " * (n - 1), "header-malformed"),
    "one name": (lambda n: b'{"' + EMOJI * (n // 4 - 1), "header-malformed"),
    "one closed name": (lambda n: b'{"' + EMOJI * (n // 4 - 9) + b'":{}}', "header-malformed"),
    "one metadata value": (lambda n: b'{"__metadata__":{"k":"' + EMOJI * (n // 4 - 20) + b'"}', "header-malformed"),
    "escapes": (lambda n: b'{"__metadata__":{"k":"' + b"\\n" * (n // 2 - 20) + b'"}', "header-malformed"),
    "digits": (lambda n: b'{"a":{"shape":[' + b"1" * (n - 15), "header-malformed"),
    "numbers": (lambda n: b'{"a":{"shape":[' + b"1," * (n // 2 - 20) + b"1]}}", "header-malformed"),
    "empty objects": (lambda n: b'{"a":{"shape":[' + b"{}," * (n // 3 - 9) + b"{}]}}", "header-too-deep"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_header_of_a_hundred_megabytes_is_refused_at_once(name):
    make, kind = BOMBS[name]
    text = make(MAX_SAFETENSORS_HEADER_NBYTES)
    data = file_of(text)
    started = time.process_time()
    error, peak_nbytes = refusal(data)
    assert error.kind == kind
    assert peak_nbytes <= BASE_MEMORY_NBYTES + 2 * len(text)
    assert time.process_time() - started < 5


def test_metadata_of_more_keys_than_fit_is_refused():
    text = b'{"__metadata__":{%b}}' % b",".join(b'"%x":""' % key for key in range(500_000))
    error, peak_nbytes = refusal(file_of(text))
    assert error.kind == "too-many-tensors"
    assert peak_nbytes <= BASE_MEMORY_NBYTES + 2 * len(text)
