"""OCDBT databases: keys and values of trees that are sound, and trees that lie, which cost bounded time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.formats.ocdbt import database, envelope
from lamella.formats.ocdbt.database import Run, read_database
from tests.formats.beside import GOLDEN
from tests.formats.ocdbt_writer import branch, leaf, manifest
from tests.formats.ocdbt_writer import envelope as enveloped

FOLDER = GOLDEN / "orbax" / "ocdbt"


def read_from(nodes: bytes):
    return lambda run: nodes[run.offset : run.offset + run.nbytes]


def listed(nodes: list[bytes], height: int = 0, **how):
    """What a database has whose nodes lie one behind the other, the root last."""
    whole = b"".join(nodes)
    root = (len(whole) - len(nodes[-1]), len(nodes[-1]))
    return read_database(manifest(root, height, **how), read_from(whole))


def test_the_checksum_is_that_of_the_standard():
    assert envelope.crc32c(b"123456789") == 0xE3069283


def test_a_database_that_tensorstore_wrote_is_read():
    def read(run: Run) -> bytes:
        return (FOLDER / run.path).read_bytes()[run.offset : run.offset + run.nbytes]

    found = read_database((FOLDER / "manifest.ocdbt").read_bytes(), read)
    assert {key.partition("/")[0] for key in found} == {
        "params.dense.kernel", "params.dense.bias", "params.layers.0", "params.layers.1", "step",
    }  # fmt: skip
    assert b'"zarr_format":2' in found["step/.zarray"]


@given(st.dictionaries(st.text(max_size=8), st.binary(max_size=40), min_size=1), st.booleans())
def test_what_was_written_is_read(values, compressed):
    sorted_values = dict(sorted((key.encode(), value) for key, value in values.items()))
    assert listed([leaf(sorted_values, compressed=compressed)], compressed=compressed) == values


def test_a_tree_of_two_levels_is_read_with_the_prefixes_of_its_branches():
    low = leaf({b"x/0": b"a", b"x/1": (0, 5, 9)}, [("p/", "d/1")])
    high = leaf({b"": b"c", b"z": b"d"})
    top = branch(1, [(b"k.x/0", 2, 0, len(low)), (b"m", 1, len(low), len(high))], [("p/", "d/n")])
    files = {"d/nodes": top, "p/d/n": low + high}
    found = read_database(manifest((0, len(top)), 1), lambda run: read_from(files[run.path])(run))
    assert found == {"k.x/0": b"a", "k.x/1": Run("p/p/d/1", 5, 9, "p/p/"), "m": b"c", "mz": b"d"}


def test_a_database_without_keys_is_read():
    assert read_database(manifest(None), read_from(b"")) == {}


LEAF = leaf({b"a": b""})
LOOP = branch(1, [(b"a", 1, 0, 1)])
BAD = {
    "a manifest in several files": lambda: listed([leaf({b"a": b""})], kind=1),
    "another version": lambda: listed([leaf({b"a": b""}, version=1)]),
    "another height": lambda: listed([leaf({b"a": b""}, height=1)]),
    "keys out of order": lambda: listed([leaf({b"b": b"", b"a": b""})]),
    "a key that is no text": lambda: listed([leaf({b"\xff": b""})]),
    "no keys": lambda: listed([leaf({})]),
    "a file that it does not name": lambda: listed([leaf({b"a": (1, 0, 1)})]),
    "a tree of great height": lambda: listed([LOOP], 200),
    "a long key": lambda: listed([leaf({b"a" * 9000: b""})]),
    "a bomb": lambda: listed([leaf({b"a": bytes(65 << 20)})]),
    "a node twice": lambda: listed([LEAF, branch(1, [(b"a", 0, 0, len(LEAF)), (b"b", 0, 0, len(LEAF))])], 1),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_what_is_not_understood_is_refused(fault):
    with pytest.raises(FormatError, match="OCDBT") as caught:
        BAD[fault]()
    assert caught.value.hint


def test_a_node_that_is_its_own_child_is_refused():
    node = branch(16, [(b"a", 0, 0, 60)])
    with pytest.raises(FormatError):
        read_database(manifest((0, len(node)), 16), lambda _: node)


def test_shared_nodes_do_not_stand_for_any_number_of_keys(monkeypatch):
    monkeypatch.setattr(database, "MAX_OCDBT_NODES", 100)
    nodes = [leaf({b"": b""})]
    for height in range(1, 14):
        children = [(bytes([97 + n]), 1, sum(map(len, nodes[:-1])), len(nodes[-1])) for n in range(4)]
        nodes.append(branch(height, children))
    with pytest.raises(FormatError, match="100 nodes") as caught:
        listed(nodes, 13)
    assert caught.value.kind == "header-too-large"


def test_altered_databases_are_refused():
    nodes = bytearray(leaf({b"a": b"1", b"b": (0, 0, 4)}))
    whole = bytearray(manifest((0, len(nodes))))
    for data in (nodes, whole):
        for at in range(len(data)):
            data[at] ^= 1 << (at % 8)
            with pytest.raises(FormatError):
                read_database(bytes(whole), read_from(bytes(nodes)))
            data[at] ^= 1 << (at % 8)
    assert read_database(bytes(whole), read_from(bytes(nodes)))


def test_bodies_of_any_bytes_are_refused_or_read():
    choices = random.Random(2)
    outcomes = set()
    for _ in range(500):
        body = bytearray(b"\0\0\2\0\1\1ab\1\1\0\0xy")
        for _ in range(choices.randint(0, 3)):
            body[choices.randrange(len(body))] = choices.randrange(256)
        try:
            outcomes.add(len(listed([enveloped(0x0CDB20DE, bytes(body))])))
        except FormatError as error:
            outcomes.add(error.kind)
    assert {2, "header-malformed"} <= outcomes
