"""The wire format: what is written is read, whatever else is there is refused, and payloads are not read."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.formats import protobuf
from lamella.formats.file import BytesFile
from lamella.formats.protobuf import FileHead, WireReader
from tests.formats.wire import field, message, varint


class Counted(BytesFile):
    """A file that knows how much of it was read."""

    def __init__(self, data):
        super().__init__(data)
        self.read_nbytes = 0

    def read_at(self, offset, nbytes):
        self.read_nbytes += nbytes
        return super().read_at(offset, nbytes)


def read(data):
    reader = WireReader(BytesFile(data))
    return [
        (one.number, one.value if one.wire == protobuf.VARINT else data[one.start : one.stop])
        for one in reader.fields(0, len(data))
    ]


VALUES = st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=300))


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), VALUES), max_size=60))
def test_what_is_written_is_read(fields):
    assert read(message(*fields)) == fields


def test_fixed_numbers_are_passed_over():
    data = b"\x09" + bytes(8) + b"\x15" + bytes(4) + field(3, 4)
    assert read(data) == [(1, bytes(8)), (2, bytes(4)), (3, 4)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        b"\x0a",
        b"\x0a\x01",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x08" + b"\xff" * 10,
        b"\x08" + b"\xff" * 9 + b"\x02",
        b"\x08" + b"\x80" * 10 + b"\x00",
        b"\x00\x01",
        b"\x02\x00",
        b"\x0b\x0c",
        b"\x0c",
        b"\x0e",
        b"\x0f",
        b"\x0d\x00\x00\x00",
        b"\x09\x00\x00\x00\x00\x00\x00\x00",
        varint(1 << 32) + b"\x00",
    ],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(FormatError) as raised:
        read(data)
    assert raised.value.kind == "header-malformed"


def test_a_field_stays_within_its_message():
    data = field(1, b"\x0a\x05abc") + b"more than enough"
    reader = WireReader(BytesFile(data))
    outer = next(reader.fields(0, len(data)))
    with pytest.raises(FormatError):
        list(reader.inside(outer))
    with pytest.raises(FormatError):
        list(reader.inside(outer._replace(wire=protobuf.VARINT)))


def test_payloads_are_not_read():
    data = message(*((1, bytes(100_000)) for _ in range(20)))
    file = Counted(data)
    assert len(list(WireReader(file).fields(0, len(data)))) == 20
    assert file.read_nbytes < 20 * 200


def test_windows_grow():
    data = message(*((1, number) for number in range(100_000)))
    reads = []

    class Recorded(BytesFile):
        def read_at(self, offset, nbytes):
            reads.append(nbytes)
            return super().read_at(offset, nbytes)

    assert len(list(WireReader(Recorded(data)).fields(0, len(data)))) == 100_000
    assert len(reads) < 20


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=60), st.data())
def test_headers_at_hand_are_read_where_what_follows_is_not(payloads, data):
    whole = message(*((1, payload) for payload in payloads))
    count = data.draw(st.integers(1, len(payloads)))
    header_end = len(message(*((1, payload) for payload in payloads[: count - 1]))) + 2
    fields = WireReader(FileHead(whole[:header_end], len(whole))).fields(0, len(whole))
    expected = WireReader(BytesFile(whole)).fields(0, len(whole))
    assert list(itertools.islice(fields, count)) == list(itertools.islice(expected, count))


def test_numbers_are_signed_and_few():
    data = field(1, b"".join(map(varint, (1, -1, 2**40)))) + field(1, 7)
    reader = WireReader(BytesFile(data))
    packed, single = reader.fields(0, len(data))
    assert reader.numbers(packed, 3) == [1, -1, 2**40]
    assert reader.numbers(single, 1) == [7]
    with pytest.raises(FormatError):
        reader.numbers(packed, 2)
    with pytest.raises(FormatError):
        reader.numbers(packed._replace(stop=packed.stop - 1), 3)
    with pytest.raises(FormatError):
        reader.numbers(packed._replace(stop=packed.start + 1000), 3)


def test_texts():
    data = field(1, "größe") + field(1, b"\xff\xfe") + field(1, 5)
    reader = WireReader(BytesFile(data))
    good, bad, number = reader.fields(0, len(data))
    assert reader.text(good, 100) == "größe"
    assert reader.shown(good, 3) == "gr\ufffd..."
    assert reader.shown(bad, 3) == "\ufffd\ufffd"
    for one, most in ((good, 3), (bad, 100), (number, 100)):
        with pytest.raises(FormatError):
            reader.text(one, most)


def test_fields_are_limited(monkeypatch):
    monkeypatch.setattr(protobuf, "MAX_PROTOBUF_FIELDS", 10)
    with pytest.raises(FormatError) as raised:
        read(message(*((1, 1) for _ in range(11))))
    assert raised.value.kind == "header-too-large"
