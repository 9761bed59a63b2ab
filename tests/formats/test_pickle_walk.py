"""Walking pickles: what the library writes is read back, every opcode is known, and what is malformed is refused."""

from __future__ import annotations

import contextlib
import math
import pickle
import pickletools
import struct
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.formats.torch.pickle_end import end_of_pickle
from lamella.formats.torch.pickle_values import ARGS, PAIRS, STATE, Node
from lamella.formats.torch.pickle_walk import _OPCODES, walk_pickle

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**100), 2**100), st.floats(), st.text(max_size=20), st.binary(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
    ),
    max_leaves=20,
)


def plain(value):
    """What a walked value would be as Python's own."""
    if isinstance(value, Node):
        assert ARGS not in value
        return {value[at]: plain(value[at + 1]) for at in range(0, len(value), 2)}
    return type(value)(map(plain, value)) if isinstance(value, list | tuple) else value


def alike(one, other):
    if isinstance(one, float):
        return (isinstance(other, float) and struct.pack("<d", one) == struct.pack("<d", other)) or math.isnan(one)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and one == other


@given(VALUES, st.integers(0, 5), st.binary(max_size=20))
def test_the_end_is_found_without_a_walk(value, protocol, more):
    data = pickle.dumps(value, protocol)
    assert end_of_pickle(data + more) == len(data)
    assert end_of_pickle(data[:-1]) is None


def test_the_end_is_where_the_library_finds_it():
    for opcode in pickletools.opcodes:
        argument = 0 if opcode.arg is None else opcode.arg.n
        numbers = {
            pickletools.UP_TO_NEWLINE: b"12\n",
            pickletools.TAKEN_FROM_ARGUMENT8U: (2).to_bytes(8, "little") + b"ab",
        }
        given = numbers.get(argument, bytes(max(argument, 0)))
        if argument in (pickletools.TAKEN_FROM_ARGUMENT4, pickletools.TAKEN_FROM_ARGUMENT4U):
            given = (2).to_bytes(4, "little") + b"ab"
        elif argument == pickletools.TAKEN_FROM_ARGUMENT1:
            given = b"\x02ab"
        elif opcode.code in "ci":
            given = b"a\nb\n"
        data = opcode.code.encode("latin-1") + given + (b"" if opcode.code == "." else b".")
        assert end_of_pickle(data + b"..") == len(data), opcode.name


@given(VALUES, st.sampled_from([3, 4, 5]))
def test_what_the_library_writes_is_read_back(value, protocol):
    data = pickle.dumps(value, protocol)
    walked = walk_pickle(data)
    assert alike(plain(walked.value), value)
    assert walked.end == len(data)
    assert walked.foreign == frozenset()


@pytest.mark.parametrize("protocol", range(6))
def test_old_protocols_write_the_same(protocol):
    value = {
        "a": [1, -1, 70_000, 2**40, 2**70, True, False, None, 0.5, "é\n", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]
    }
    assert alike(plain(walk_pickle(pickle.dumps(value, protocol)).value), value)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_classes_are_on_the_list(protocol):
    value = [OrderedDict(a=1), {1, 2}, frozenset([3]), complex(1, 2), bytearray(b"a"), range(3), b"bytes"]
    assert walk_pickle(pickle.dumps(value, protocol)).foreign == frozenset()


def test_every_opcode_is_known():
    assert {opcode.code for opcode in pickletools.opcodes} == set(_OPCODES)


@given(st.binary(max_size=60))
def test_anything_is_walked_or_refused(data):
    with contextlib.suppress(FormatError):
        walk_pickle(data + b".")


@given(st.lists(st.sampled_from(sorted(_OPCODES)), max_size=40), st.binary(max_size=8))
def test_any_opcodes_are_walked_or_refused(codes, between):
    data = between.join(code.encode("latin-1") for code in codes) + b"."
    with contextlib.suppress(FormatError):
        walk_pickle(data)


@given(VALUES, st.data())
def test_a_pickle_that_is_cut_says_so(value, data):
    whole = pickle.dumps(value, 4)
    with pytest.raises(FormatError) as raised:
        walk_pickle(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert raised.value.kind == "file-truncated"


def test_an_object_remembers_what_it_is_made_of():
    walked = walk_pickle(b"cgadget\nNet\n(K\x01K\x02tR}\x8c\x01aK\x03sb(K\x04K\x05e.")
    assert list(walked.value) == [ARGS, (1, 2), STATE, ["a", 3], ARGS, [4, 5]]
    assert walked.foreign == {"gadget.Net"}
    assert walk_pickle(b"ccollections\nOrderedDict\n]\x85R.").value == [PAIRS, []]


def test_long_text_is_cut_and_told_from_others():
    data = b"(" + (b"X\x10\x27\x00\x00" + b"a" * 10_000) * 2 + b"t."
    one, other = walk_pickle(data).value
    assert one != other
    assert len(one) < 5_000


def test_long_numbers_are_nothing():
    assert walk_pickle(b"\x8b\x00\x01\x00\x00" + b"\x7f" * 256 + b".").value is None
    assert walk_pickle(b"I" + b"9" * 200 + b"\n.").value is None


def test_foreign_names_are_shown_in_plain_letters():
    assert walk_pickle("c\u043es\n\x1b[2Jx\n.".encode()).foreign == {"\\u043es.\\x1b[2Jx"}


MALFORMED = {
    "an empty stack": b".",
    "an empty stack for POP": b"0.",
    "no mark": b"K\x01t.",
    "a stack that is too short": b"K\x01\x86.",
    "an unknown opcode": b"\xff.",
    "an unknown protocol": b"\x80\x06N.",
    "a memo that has nothing": b"h\x01.",
    "a memo of another number": b"Nq\x00j\x01\x00\x00\x00.",
    "a list that is a number": b"K\x01K\x02a.",
    "keys of a list": b"]K\x01K\x02s.",
    "a key without a value": b"}(K\x01u.",
    "a mapping of three": b"(K\x01K\x02K\x03d.",
    "text that is not UTF-8": b"X\x01\x00\x00\x00\xff.",
    "a number that is none": b"Ix\n.",
    "a float that is none": b"Fx\n.",
    "a string without quotes": b"Sx\n.",
    "a line without an end": b"I" + b"1" * 9000,
    "a name that is a number": b"K\x01K\x02\x93.",
    "arguments that are a number": b"cos\nsystem\nK\x01R.",
    "a storage that is none": b"(\x8c\x07storageNNNNtQ.",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_refused(data):
    with pytest.raises(FormatError) as raised:
        walk_pickle(data)
    assert raised.value.kind == "header-malformed"
