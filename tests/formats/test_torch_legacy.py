"""The files of PyTorch before 1.6: the suite, and files that lie."""

from __future__ import annotations

import struct

import pytest

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.formats.torch.legacy import TorchLegacyFormat
from lamella.testing.formats import FormatSuite
from tests.formats.contents import values
from tests.formats.torch_writer import (
    MAGIC,
    PROTOCOL,
    integer,
    legacy,
    listing,
    mapping,
    name,
    pickled,
    tensor,
    text,
    tuple_of,
)

FORMAT = TorchLegacyFormat()
SIX = struct.pack("<6f", *range(6))
TWO = mapping({"a": tensor("8", (2, 3)), "b": tensor("9", (3,), kind="ShortStorage"), "epoch": integer(3)})
STATE_DICT = legacy(TWO, {"9": (3, b"abcdef"), "8": (6, SIX)})


class TestSuite(FormatSuite):
    format = FORMAT
    mutations = 400

    def files(self):
        tied = mapping({"a": tensor("0", (2, 3)), "b": tensor("0", (3, 2), (1, 3), numel=6)})
        many = mapping({f"layer.{number}.weight": tensor(str(number), (2, 3)) for number in range(60)})
        large = mapping({"b": tensor("0", (170, 100), (1, 170), numel=17_000)})
        return [
            STATE_DICT,
            legacy(tied, {"0": (6, SIX)}),
            legacy(mapping({})),
            legacy(many, {str(number): (6, SIX) for number in range(60)}),
            legacy(large, {"0": (17_000, bytes(68_000))}),
        ]


READ_AHEAD = {
    "a frame that leaves the pickle": b"\x95\xe8\x03" + bytes(6),
    "values that take more memory than the pickle allows": b"\x98" * 530_000 + b"(" + b"}" * 405_000 + b"1",
}


@pytest.mark.parametrize("before", READ_AHEAD.values(), ids=READ_AHEAD)
def test_bytes_of_tensors_do_not_say_whether_a_pickle_is_sound(before):
    answers = set()
    head = legacy(before + tensor("0", (1_000_000,)), {"0": (1_000_000, b"")})
    whole = BytesFile(head + bytes(4_000_000))
    for file in (whole, WithoutTensors(whole, len(head))):
        try:
            answers.add(repr(FORMAT.layout(file)))
        except FormatError as error:
            answers.add(error.kind)
    assert len(answers) == 1


class WithoutTensors:
    """A file of which only the first bytes are at hand."""

    def __init__(self, file: BytesFile, at_hand: int) -> None:
        self._file = file
        self._at_hand = at_hand
        self.nbytes = file.nbytes

    def read_at(self, offset, nbytes):
        if offset + nbytes > self._at_hand:
            raise FormatError("not at hand", kind="file-truncated")
        return self._file.read_at(offset, nbytes)


def test_storages_lie_in_the_order_of_their_list():
    assert values(FORMAT, STATE_DICT) == {"a": ("f32", (2, 3), SIX), "b": ("i16", (3,), b"abcdef")}
    assert FORMAT.metadata(BytesFile(STATE_DICT)) == {"epoch": "3"}


def test_a_storage_may_be_a_part_of_another():
    part = tuple_of(text("5"), integer(2), integer(3))
    given = tuple_of(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), integer(6), part)
    assert values(FORMAT, legacy(given + b"Q", {"0": (6, SIX)})) == {"tensor": ("f32", (3,), SIX[8:20])}


def test_what_stands_behind_the_storages_is_kept():
    layout = FORMAT.layout(BytesFile(STATE_DICT + STATE_DICT))
    assert [span.spec.name for span in layout.tensors] == ["b", "a"]


def test_a_pickle_that_is_longer_than_the_first_read():
    value = mapping({f"layer.{number}": tensor("0", (6,)) for number in range(2_000)})
    assert len(values(FORMAT, legacy(value, {"0": (6, SIX)}))) == 2_000


@pytest.mark.parametrize("head", [pickled(b"N"), MAGIC[:-1], b"PK\x03\x04", b"\x80\x02}."])
def test_other_pickles_are_not_claimed(head):
    assert not FORMAT.sniff(head + bytes(40), len(head) + 40)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_is_claimed(protocol):
    frame = b"\x95\x0d\x00\x00\x00\x00\x00\x00\x00" if protocol > 3 else b""
    head = b"\x80" + bytes([protocol]) + frame + MAGIC[2:]
    data = head + STATE_DICT[len(MAGIC) :]
    assert FORMAT.sniff(data[:4096], len(data))
    assert sorted(values(FORMAT, data)) == ["a", "b"]


ONE = tensor("0", (6,))
HEAD = MAGIC + PROTOCOL + pickled(mapping({}))
HOSTILE = {
    "another protocol": (MAGIC + pickled(integer(1002)), "header-malformed"),
    "no end": (HEAD + pickled(ONE)[:-1], "file-truncated"),
    "no storages": (HEAD + pickled(ONE), "file-truncated"),
    "a list that is none": (HEAD + pickled(ONE) + pickled(b"N"), "header-malformed"),
    "a storage that is not listed": (legacy(ONE), "header-malformed"),
    "a storage that is listed twice": (
        HEAD + pickled(ONE) + pickled(listing(text("0"), text("0"))) + (b"\x06" + bytes(7) + SIX) * 2,
        "header-malformed",
    ),
    "a storage that nothing refers to": (legacy(ONE, {"0": (6, SIX), "1": (1, b"abcd")}), "header-malformed"),
    "a key that is a list": (HEAD + pickled(ONE) + pickled(listing(listing())), "header-malformed"),
    "a storage that is cut": (legacy(ONE, {"0": (6, SIX[:-1])}), "span-out-of-file"),
    "a count near 2**64": (legacy(ONE, {"0": ((1 << 64) - 1, SIX)}), "span-out-of-file"),
    "a count that is too small": (legacy(ONE, {"0": (5, SIX)}), "span-out-of-file"),
    "no count": (legacy(ONE, {"0": (6, SIX)})[: -len(SIX) - 1], "file-truncated"),
}


@pytest.mark.parametrize("data, kind", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_lies_is_refused(data, kind):
    with pytest.raises(FormatError) as raised:
        FORMAT.layout(BytesFile(data))
    assert raised.value.kind == kind
