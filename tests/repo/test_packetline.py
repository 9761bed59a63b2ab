"""Packets over file descriptors."""

from __future__ import annotations

import os
import threading
from contextlib import closing, contextmanager
from tempfile import TemporaryFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core.errors import BackendError, FormatError
from lamella.repo.packetline import MAX_PACKET_NBYTES, Content, PacketReader, PacketWriter

PIECES = st.lists(st.one_of(st.binary(max_size=200), st.integers(0, 200_000).map(bytes)), max_size=8)


@contextmanager
def reading(data):
    with TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        yield PacketReader(file.fileno())


def written(*calls):
    """What a writer writes when it is told `calls`."""
    with TemporaryFile() as file:
        writer = PacketWriter(file.fileno())
        for call in calls:
            call(writer)
        file.seek(0)
        return file.read()


def framed(data):
    return b"%04x" % (len(data) + 4) + data


@settings(max_examples=50, deadline=None)
@given(pieces=PIECES, ask=st.integers(1, 300_000))
def test_content_comes_back_whatever_the_pieces(pieces, ask):
    data = b"".join(pieces)
    raw = written(*[lambda writer, piece=piece: writer.write(piece) for piece in pieces], PacketWriter.flush)
    for read in (
        lambda content: b"".join(bytes(piece) for piece in content),
        lambda content: content.read(),
        lambda content: b"".join(iter(lambda: content.read(ask), b"")),
    ):
        with reading(raw) as reader:
            content = Content(reader)
            assert read(content) == data
            assert content.read() == b""
            assert reader.at_end()


def test_packets_are_as_full_as_the_protocol_allows():
    raw = written(lambda writer: writer.write(b"a"), lambda writer: writer.write(bytes(200_000)), PacketWriter.flush)
    with reading(raw) as reader:
        lengths = []
        while (packet := reader.read()) is not None:
            lengths.append(len(packet))
    assert lengths == [MAX_PACKET_NBYTES] * 3 + [200_001 - 3 * MAX_PACKET_NBYTES]


def test_a_full_last_packet_is_followed_by_no_empty_one():
    assert written(lambda writer: writer.write(bytes(MAX_PACKET_NBYTES)), PacketWriter.flush)[-6:] == b"\0\x000000"


def test_no_content_is_a_flush_packet():
    assert written(PacketWriter.flush) == b"0000"
    assert written(lambda writer: writer.write(b""), PacketWriter.flush) == b"0000"


def test_texts_are_lines_and_may_be_none():
    assert written(lambda writer: writer.write_texts("a", "bc")) == b"0006a\n0007bc\n0000"
    assert written(PacketWriter.write_texts) == b"0000"


def test_a_piece_may_be_reused_once_it_is_written():
    def write(writer):
        buffer = bytearray(b"a" * 100_000)
        writer.write(buffer)
        buffer[:] = b"b" * 100_000
        writer.write(memoryview(buffer))
        writer.flush()

    with reading(written(write)) as reader:
        assert Content(reader).read() == b"a" * 100_000 + b"b" * 100_000


def test_buffers_of_wider_items_count_in_bytes():
    raw = written(lambda writer: writer.write(memoryview(bytes(range(8))).cast("I")), PacketWriter.flush)
    assert raw == b"000c" + bytes(range(8)) + b"0000"


def test_ways_of_reading_mix():
    with reading(framed(b"abc") + framed(b"defgh") + framed(b"") + framed(b"ij") + b"0000" + framed(b"next")) as reader:
        content = Content(reader)
        assert content.read(2) == b"ab"
        assert content.read(0) == b""
        assert content.read(5) == b"cdefg"
        assert [bytes(piece) for piece in content] == [b"h", b"ij"]
        assert content.read(5) == b""
        assert bytes(reader.read()) == b"next"


def test_closed_content_skips_the_rest_and_refuses_to_be_read():
    with reading(framed(b"abc") + framed(b"def") + b"0000" + framed(b"next\n")) as reader:
        content = Content(reader)
        assert content.read(1) == b"a"
        content.close()
        with pytest.raises(RuntimeError):
            content.read()
        assert reader.read_text() == "next"


@pytest.mark.parametrize(
    "raw",
    [b"0", b"000", b"0001", b"0002", b"0003", b"zzzz", b"+004", b"0x04", b"-001", b" 004", b"fff1" + bytes(70_000),
     b"0006a", b"fff0" + bytes(65_515), b"ffff" + bytes(70_000), b"\xff\xff\xff\xff", b"00_4", b"\n004"],
)  # fmt: skip
def test_what_is_no_packet_is_refused(raw):
    with reading(raw) as reader:
        with pytest.raises(FormatError) as caught:
            reader.read()
        assert caught.value.kind == "protocol"
        assert reader.broken


def test_the_longest_packet_is_read():
    with reading(b"fff0" + bytes(MAX_PACKET_NBYTES)) as reader:
        assert len(reader.read()) == MAX_PACKET_NBYTES


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60))
def test_only_a_format_error_escapes(data):
    with reading(data) as reader:
        try:
            while not reader.at_end():
                reader.read()
        except FormatError as error:
            assert error.kind == "protocol"


def test_packets_may_arrive_in_any_portions():
    raw = framed(bytes(range(256)) * 200) + framed(b"xyz") + b"0000"
    source, sink = os.pipe()

    def send():
        with closing(os.fdopen(sink, "wb", buffering=0)) as pipe:
            for start in range(0, len(raw), 977):
                pipe.write(raw[start : start + 977])

    thread = threading.Thread(target=send)
    thread.start()
    reader = PacketReader(source)
    assert Content(reader).read() == bytes(range(256)) * 200 + b"xyz"
    assert reader.at_end()
    thread.join()
    os.close(source)


def test_a_writer_whose_reader_has_gone_says_so():
    source, sink = os.pipe()
    os.close(source)
    writer = PacketWriter(sink)
    with pytest.raises(BackendError) as caught:
        writer.write(bytes(1_000_000))
    os.close(sink)
    assert caught.value.kind == "git-failed"
    assert writer.broken
