"""Tied tensors, transposed ones and long gaps: into the store, out of it, and each of them read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy
import pytest

from lamella.core.config import StoreConfig
from lamella.core.errors import ConflictError, IntegrityError
from lamella.core.ids import ObjectId, digest
from lamella.core.limits import MIB
from lamella.formats.file import BytesFile
from lamella.formats.strided import read_view
from lamella.ops.changes import compare
from lamella.repo.checkin import check_in, identify_file
from lamella.repo.checkout import file_pieces
from lamella.repo.manifest import Manifest, parse_manifest, write_manifest
from lamella.repo.snapshot import Snapshot
from lamella.store.objects import ObjectStore
from tests.toy import Placed, toy

pytestmark = pytest.mark.usefixtures("toys")

ARRAY = numpy.arange(600, dtype="<f4").reshape(20, 30)
RANDOM = numpy.random.default_rng(1)
GAP = RANDOM.bytes(3 * MIB)
HIDDEN = RANDOM.standard_normal((300, 100)).astype("<f4")

TENSORS = {
    "wte": Placed("f32", (20, 30), 0),
    "head": Placed("f32", (20, 30), 0),
    "turned": Placed("f32", (30, 20), 0, (4, 120)),
    "first": Placed("f32", (30,), 0),
    "big endian": Placed("f32", (20, 30), 0, None, swapped=True),
    "of a part": Placed("f32", (100, 300), len(GAP) + 2400, (4, 400)),
}
FILE = toy(TENSORS, ARRAY.tobytes() + GAP + HIDDEN.tobytes(), {"key": "value"})
EXPECTED = {
    "wte": ARRAY,
    "head": ARRAY,
    "turned": ARRAY.T,
    "first": ARRAY[0],
    "big endian": ARRAY.view(">f4").astype("<f4"),
    "of a part": HIDDEN.T,
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "store", StoreConfig(threads=2), create=True) as store:
        yield store


@pytest.fixture
def manifest(store: ObjectStore) -> Manifest:
    return check_in(store, BytesFile(FILE), ()).manifest


def test_rows_have_every_byte_but_the_header_and_views_have_none(manifest):
    tensors = [row.spec.name for row in manifest.rows if not row.part]
    assert tensors == ["wte"]
    assert sum(row.part for row in manifest.rows) >= 2
    assert sum(row.spec.nbytes for row in manifest.rows) == len(FILE) - FILE.index(ARRAY.tobytes())
    assert {row.spec.name for row in manifest.views} == EXPECTED.keys() - {"wte"}


def test_the_id_of_a_view_is_that_of_its_elements(store, manifest):
    objects = {row.spec.name: row.object for row in manifest.tensors}
    assert objects == {name: digest(array.tobytes()) for name, array in EXPECTED.items()}
    assert objects["head"] == objects["wte"]
    assert {name for name, identity in objects.items() if store.contains(identity)} == {"wte", "head"}


def test_the_file_comes_back_bit_for_bit(store, manifest):
    assert b"".join(bytes(piece) for piece in file_pieces(store, manifest)) == FILE
    assert parse_manifest(write_manifest(manifest)) == manifest
    assert identify_file(BytesFile(FILE), 1) == manifest


@pytest.mark.parametrize("name", EXPECTED)
def test_every_tensor_is_read(store, manifest, name):
    snapshot = Snapshot(store, manifest, "HEAD:m")
    expected = EXPECTED[name].tobytes()
    assert snapshot[name].tobytes() == expected
    assert snapshot[name].shape == EXPECTED[name].shape
    for start, stop in ((0, 4), (7, 50), (len(expected) - 3, None)):
        assert snapshot.read(name, start, stop) == expected[start:stop]
    assert b"".join(read_view(*snapshot.locate(name))) == expected


def test_tensors_are_listed_in_file_order_views_behind_them(store, manifest):
    assert [spec.name for spec in Snapshot(store, manifest, "x").specs()] == [row.spec.name for row in manifest.tensors]
    assert set(Snapshot(store, manifest, "x")) == EXPECTED.keys()


def test_a_view_that_does_not_hold_what_its_id_says_is_refused(store, manifest):
    views = tuple(replace(row, object=ObjectId(bytes(32))) for row in manifest.views)
    with pytest.raises(IntegrityError) as caught:
        Snapshot(store, replace(manifest, views=views), "HEAD:m")["turned"]
    assert caught.value.kind == "object-wrong-id"


def test_a_manifest_with_other_views_than_the_header_is_refused(store, manifest):
    for views in (manifest.views[1:], manifest.views[::-1]):
        with pytest.raises(ConflictError) as caught:
            list(file_pieces(store, replace(manifest, views=views)))
        assert caught.value.kind == "manifest-mixed"


def test_a_change_of_shared_bytes_is_one_of_every_tensor_that_has_them(store, manifest):
    changed = bytearray(FILE)
    changed[FILE.index(ARRAY.tobytes()) + 1000] ^= 1
    after = check_in(store, BytesFile(bytes(changed)), (manifest,)).manifest
    change = compare("m", manifest, after)
    assert {tensor.name for tensor in change.tensors} == {"wte", "head", "turned", "big endian"}
    assert (change.total, change.container) == (6, False)


def test_a_change_of_a_gap_is_one_of_the_rest(store, manifest):
    changed = bytearray(FILE)
    changed[FILE.index(GAP) + 1_500_000] ^= 1
    after = check_in(store, BytesFile(bytes(changed)), (manifest,)).manifest
    change = compare("m", manifest, after)
    assert (change.rest, change.container) == (True, False)
    assert after.model_id() == manifest.model_id()
    assert len({row.object for row in after.rows} - {row.object for row in manifest.rows}) == 1


def test_the_same_weights_without_ties_have_the_same_model_id(store, manifest):
    placed, data = {}, b""
    for name, array in EXPECTED.items():
        placed[name] = Placed("f32", array.shape, len(data))
        data += array.tobytes()
    assert identify_file(BytesFile(toy(placed, data)), 1).model_id() == manifest.model_id()
