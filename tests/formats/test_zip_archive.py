"""Zip directories: what is read, and archives that two readers could take for two."""

from __future__ import annotations

import io
import random
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.formats import zip_archive
from lamella.formats.file import BytesFile
from lamella.formats.zip_archive import ZipMember, first_name, read_member, read_members


def archive(members, method=zipfile.ZIP_STORED, comment=b""):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as writer:
        for name, data in members:
            writer.writestr(name, data)
        writer.comment = comment
    return made.getvalue()


TWO = archive([("one.txt", b"first"), ("folder/two", b"second" * 10)])
DEFLATED = archive([("one", b"a" * 1000)], zipfile.ZIP_DEFLATED)


def refused(data, kind="header-malformed"):
    with pytest.raises(FormatError) as raised:
        read_members(BytesFile(data))
    assert raised.value.kind == kind


@given(
    st.lists(
        st.tuples(st.text("abc/é.", min_size=1, max_size=9), st.binary(max_size=50)),
        max_size=5,
        unique_by=lambda m: m[0],
    ),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
def test_members_are_found_where_they_are(members, method):
    data = archive(members, method)
    found = read_members(BytesFile(data))
    assert [(one.name, read_member(BytesFile(data), one, 100)) for one in found] == members
    assert first_name(data[:4096]) == (members[0][0] if members else None)


def test_a_stored_member_is_a_run_of_the_file():
    one, two = read_members(BytesFile(TWO))
    assert one.stored
    assert TWO[one.offset : one.offset + one.nbytes] == b"first"
    assert TWO[two.offset : two.offset + two.nbytes] == b"second" * 10


def test_members_written_to_a_stream_have_their_lengths_behind():
    class Stream(io.BytesIO):
        def seekable(self):
            return False

    made = Stream()
    with zipfile.ZipFile(made, "w") as writer, writer.open("a", "w") as member:
        member.write(b"streamed")
    (found,) = read_members(BytesFile(made.getvalue()))
    assert made.getvalue()[found.offset : found.offset + found.nbytes] == b"streamed"


def test_a_member_with_64_bit_lengths():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as writer, writer.open("a", "w", force_zip64=True) as member:
        member.write(b"wide")
    (found,) = read_members(BytesFile(made.getvalue()))
    assert made.getvalue()[found.offset : found.offset + found.nbytes] == b"wide"


def with_64_bit_directory(data, alter=lambda fields: fields, elsewhere=True):
    """Return an archive with a 64-bit end record before the short one, whose numbers then stand elsewhere."""
    end = data.rindex(b"PK\x05\x06")
    _, _, _, here, count, nbytes, start, _ = struct.unpack_from("<4s4H2LH", data, end)
    fields = alter([b"PK\x06\x06", 44, 45, 45, 0, 0, here, count, nbytes, start])
    long = struct.pack("<4sQ2H2L4Q", *fields)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    short = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if elsewhere else (here, count, nbytes, start)
    return data[:end] + long + locator + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *short, 0)


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_64_bit_directory_is_read(elsewhere):
    assert read_members(BytesFile(with_64_bit_directory(TWO, elsewhere=elsewhere))) == read_members(BytesFile(TWO))


def test_more_members_than_16_bits_count():
    data = archive([(str(number), b"") for number in range(0x10001)])
    assert len(read_members(BytesFile(data))) == 0x10001


def altered(data, at, replacement):
    return data[:at] + replacement + data[at + len(replacement) :]


def directory(data):
    return data.index(b"PK\x01\x02")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        TWO[:-1],
        b"x" + TWO,
        TWO + b"x",
        TWO + TWO[TWO.rindex(b"PK\x05\x06") :],
        TWO[: TWO.rindex(b"PK\x05\x06")] + b"PK\x05\x06" + bytes(18),
        archive([("a", b"x")], comment=b"PK\x05\x06" + bytes(18)),
        altered(TWO, directory(TWO) + 8, b"\x01"),  # encrypted
        altered(TWO, directory(TWO) + 10, b"\x08"),  # method differs from the local header
        altered(TWO, directory(TWO) + 20, b"\x04"),  # lengths differ
        altered(TWO, directory(TWO) + 34, b"\x01"),  # on another volume
        altered(TWO, directory(TWO) + 28, b"\xff\xff"),  # a name longer than the directory
        altered(TWO, directory(TWO) + 46, b"O"),  # another name than the local header has
        altered(TWO, TWO.rindex(b"PK\x05\x06") + 8, b"\x03\x00\x03\x00"),  # more members than there are
        altered(TWO, TWO.rindex(b"PK\x05\x06") + 8, b"\x01\x00\x01\x00"),  # fewer
        altered(TWO, TWO.rindex(b"PK\x05\x06") + 4, b"\x01"),  # a second volume
        altered(TWO, TWO.rindex(b"PK\x05\x06") + 8, b"\xff\xff\xff\xff"),  # a 64-bit directory that is not there
        with_64_bit_directory(TWO, lambda f: [*f[:7], 9, *f[8:]]),
        with_64_bit_directory(TWO, lambda f: [*f[:1], 50, *f[2:]]),
        with_64_bit_directory(TWO, lambda f: [*f[:9], f[9] + 1], elsewhere=False),
        with_64_bit_directory(TWO, lambda f: [*f[:8], 1 << 63, 1 << 63]),
    ],
)
def test_what_is_no_archive_or_could_be_two_is_refused(data):
    refused(data)


def test_members_that_overlap_or_come_twice_are_refused():
    start = directory(TWO)
    second = TWO.index(b"PK\x01\x02", start + 4)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = archive([("a", b"1"), ("a", b"2")])
    refused(twice, "name-duplicate")
    quine = altered(TWO, second, TWO[start : start + 46][:42] + TWO[start + 42 : start + 46])
    assert quine != TWO
    refused(quine)
    longer = struct.pack("<LL", 80, 80)
    overlapping = altered(altered(TWO, start + 20, longer), 18, longer)
    refused(overlapping, "span-overlap")
    runs_out = struct.pack("<LL", 5000, 5000)
    refused(altered(altered(TWO, start + 20, runs_out), 18, runs_out), "span-out-of-file")


def test_an_archive_that_claims_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(zip_archive, "MAX_ZIP_MEMBERS", 1)
    refused(TWO, "header-too-large")


def test_a_bomb_is_inflated_no_further_than_it_is_asked_to():
    bomb = archive([("zeros", bytes(10_000_000))], zipfile.ZIP_DEFLATED)
    (member,) = read_members(BytesFile(bomb))
    with pytest.raises(FormatError) as raised:
        read_member(BytesFile(bomb), member, 1_000_000)
    assert raised.value.kind == "header-too-large"
    lying = ZipMember("zeros", member.offset, member.nbytes, 100, member.method)
    with pytest.raises(FormatError) as raised:
        read_member(BytesFile(bomb), lying, 1_000_000)
    assert raised.value.kind == "header-malformed"


@pytest.mark.parametrize("change", [{"method": 12}, {"nbytes": 3}, {"decoded_nbytes": 5}, {"offset": 40}])
def test_a_damaged_member_is_refused(change):
    (member,) = read_members(BytesFile(DEFLATED))
    fields = {name: getattr(member, name) for name in ("name", "offset", "nbytes", "decoded_nbytes", "method")}
    with pytest.raises(FormatError):
        read_member(BytesFile(DEFLATED), ZipMember(**(fields | change)), 10_000)


@pytest.mark.parametrize("data", [TWO, DEFLATED, with_64_bit_directory(TWO)])
def test_only_format_errors_escape_and_members_lie_in_the_file(data):
    choices = random.Random(1)
    for _ in range(3000):
        changed = bytearray(data)
        for _ in range(choices.randint(1, 4)):
            changed[choices.randrange(len(changed))] = choices.choice((0, 1, 0x7F, 0xFF, choices.randrange(256)))
        try:
            found = read_members(BytesFile(changed))
            end = 0
            for member in found:
                assert end <= member.offset <= member.offset + member.nbytes <= len(changed)
                end = member.offset + member.nbytes
                read_member(BytesFile(changed), member, 10_000)
        except FormatError:
            continue


@pytest.mark.parametrize("kept", [0, 10, 21, -1, -30])
def test_an_archive_that_was_cut_short_is_told(kept):
    with pytest.raises(FormatError, match="the directory at the end of the archive is missing") as caught:
        read_members(BytesFile(TWO[:kept]))
    assert "copy it again" in caught.value.hint
