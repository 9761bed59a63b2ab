"""From a file to a manifest: the same bytes, the same text, whatever is known already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core.buffers import Buffer
from lamella.core.config import StoreConfig
from lamella.core.dtypes import dtype_named
from lamella.core.errors import ConflictError
from lamella.core.ids import digest
from lamella.core.tensors import TensorSpec
from lamella.formats import builtin
from lamella.formats.arrange import arrange
from lamella.formats.base import Box, TensorSpan, TensorView
from lamella.formats.file import BytesFile
from lamella.repo.checkin import check_in, identify_file
from lamella.repo.manifest import OPAQUE, Manifest, write_manifest
from lamella.store.objects import ObjectStore
from lamella.testing.models import LAYERS, model, network, spec


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "store", StoreConfig(threads=2), create=True) as store:
        yield store


def test_the_manifest_does_not_depend_on_what_is_stored_or_on_the_parents(store):
    file = BytesFile(network(layer_1_bias=1))
    alone = check_in(store, file, ())
    parent = check_in(store, BytesFile(network()), ()).manifest
    again = check_in(store, file, (parent,))
    assert write_manifest(alone.manifest) == write_manifest(again.manifest)
    assert (alone.added.objects, again.added.objects) == (9, 0)


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 4))
def test_identifying_gives_the_manifest_that_storing_gives(tmp_path_factory, tail, threads):
    for content in (network() + tail, tail, model([spec("a", 3)], note=tail.hex())):
        with ObjectStore(tmp_path_factory.mktemp("store"), create=True) as store:
            assert identify_file(BytesFile(content), threads) == check_in(store, BytesFile(content), ()).manifest


def test_rows_are_in_file_order_and_the_rest_is_the_skeleton(store):
    manifest = check_in(store, BytesFile(network()), ()).manifest
    assert (manifest.format, [row.spec for row in manifest.rows]) == ("safetensors", list(LAYERS))
    assert manifest.skeleton is not None
    assert manifest.nbytes == sum(spec.nbytes for spec in LAYERS)


def test_a_file_without_a_header_has_no_skeleton(store):
    manifest = check_in(store, BytesFile(bytes(1000)), ()).manifest
    assert (manifest.format, manifest.skeleton, len(manifest.rows)) == (OPAQUE, None, 1)
    assert check_in(store, BytesFile(b""), ()).manifest.rows == ()


def test_a_tensor_leans_on_its_own_earlier_version_only_where_the_dtype_is_the_same(store):
    wide = spec("wide", 60_000)
    first = check_in(store, BytesFile(model([wide])), ()).manifest
    changed = bytearray(model([wide]))
    changed[-4:] = b"next"
    second = check_in(store, BytesFile(bytes(changed)), (first,)).manifest
    assert store.open(second.rows[0].object).bases[0].id == first.rows[0].object
    other = bytearray(model([spec("wide", 60_000, dtype="i32")]))
    other[-4:] = b"more"
    third = check_in(store, BytesFile(bytes(other)), (first,)).manifest
    assert store.open(third.rows[0].object).bases == ()


def test_other_models_are_looked_at_only_where_the_version_before_lacks_a_tensor_or_was_derived(store):
    asked = []

    def others() -> list[Manifest]:
        asked.append(True)
        return [first]

    wide = [spec("wide", 30, 40)]
    first = check_in(store, BytesFile(model(wide)), ()).manifest
    check_in(store, BytesFile(model(wide, {"wide": 1})), (first,), others=others)
    assert asked == []
    turned = [spec("wide", 40, 30)]
    data = model(wide)[-4800:]
    items = (data[4 * (row * 40 + column) :][:4] for column in range(40) for row in range(30))
    second = check_in(store, BytesFile(model(turned)[:-4800] + b"".join(items)), (), others=others)
    assert (asked, store.open(second.manifest.rows[0].object).sources[0].head.id) == ([True], first.rows[0].object)
    check_in(store, BytesFile(model(turned, {"wide": 2})), (second.manifest,), others=others)
    assert asked == [True, True]


def test_equal_tensors_are_stored_once(store):
    zeros = model([spec("a", 4), spec("b", 4)])[:-32] + bytes(32)
    assert check_in(store, BytesFile(zeros), ()).added.objects == 2


def test_a_file_that_changes_while_it_is_read_is_refused_and_nothing_is_stored(store):
    class Changing(BytesFile):
        reads = 0

        def read_at(self, offset: int, nbytes: int) -> Buffer:
            self.reads += 1
            data = bytearray(super().read_at(offset, nbytes))
            if offset > 1000 and data:
                data[0] = self.reads % 256
            return bytes(data)

    with pytest.raises(ConflictError) as caught:
        check_in(store, Changing(network()), ())
    assert caught.value.kind == "file-changed"
    assert store.index.count() == 0
    assert not list(store.packs.iterdir())


class Tiled:
    """A format of files with one tensor in a row, and one whose first half lies where the other's does."""

    name = "tiled"

    def sniff(self, head, nbytes):
        return nbytes == 48

    def layout(self, file):
        row, tiles = (TensorSpec(name, dtype_named("f32"), (4, 2)) for name in ("row", "tiles"))
        halves = (Box((0, 0), (2, 2), 0, (8, 4)), Box((2, 0), (2, 2), 32, (8, 4)))
        return arrange(self.name, file.nbytes, [TensorSpan(row, 0), TensorView(tiles, halves)])


def test_a_tensor_in_tiles_is_not_taken_for_one_that_begins_where_its_first_tile_does(monkeypatch):
    monkeypatch.setattr(builtin, "FORMATS", (Tiled(),))
    data = bytes(range(48))
    manifest = identify_file(BytesFile(data), 1)
    assert [row.object for row in manifest.tensors] == [digest(data[:32]), digest(data[:16] + data[32:])]
