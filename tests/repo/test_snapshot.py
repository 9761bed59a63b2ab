"""A model at a revision, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy
import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.errors import ConflictError, IntegrityError, UsageError
from lamella.core.ids import ObjectId
from lamella.core.numpy_dtypes import numpy_dtype
from lamella.formats.file import BytesFile
from lamella.repo.arrays import spec_of
from lamella.repo.checkin import check_in
from lamella.repo.snapshot import Snapshot
from lamella.store.objects import ObjectStore
from lamella.testing.models import model, spec, values

SPECS = [spec("wide", 300, 700), spec("half", 5, dtype="bf16"), spec("none", 0, 3), spec("one", dtype="i64")]


@pytest.fixture
def snapshot(tmp_path: Path) -> Iterator[Snapshot]:
    with ObjectStore(tmp_path / "store", create=True) as store:
        yield Snapshot(store, check_in(store, BytesFile(model(SPECS)), ()).manifest, "HEAD:m")


def test_it_is_a_mapping_of_arrays(snapshot):
    assert list(snapshot) == [one.name for one in SPECS]
    assert snapshot.specs() == SPECS
    for one in SPECS:
        assert snapshot[one.name].shape == one.shape
        assert snapshot[one.name].tobytes() == values(one)
    assert dict(snapshot).keys() == {one.name for one in SPECS}


def test_an_object_of_another_length_is_refused_before_it_is_read(snapshot):
    first, second, *rest = snapshot.manifest.rows
    altered = replace(snapshot.manifest, rows=(replace(first, object=second.object), second, *rest))
    other = Snapshot(snapshot._store, altered, "HEAD:m")
    for read in (lambda: other["wide"], lambda: other.read("wide", 0, 1)):
        with pytest.raises(IntegrityError) as caught:
            read()
        assert caught.value.kind == "object-damaged"


def test_a_manifest_that_a_merge_mixed_gives_no_array(snapshot):
    mixed = replace(snapshot.manifest, rows=snapshot.manifest.rows[1:])
    with pytest.raises(ConflictError) as caught:
        Snapshot(snapshot._store, mixed, "HEAD:m")["half"]
    assert caught.value.kind == "manifest-mixed"
    without_skeleton = replace(snapshot.manifest, skeleton=ObjectId(bytes(32)))
    assert Snapshot(snapshot._store, without_skeleton, "HEAD:m")["one"].tobytes() == values(SPECS[3])


def test_an_array_may_be_changed_without_changing_what_is_stored(snapshot):
    snapshot["wide"][:] = 0
    assert snapshot["wide"].tobytes() == values(SPECS[0])


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (0, 0), (0, 1), (262_143, 262_145), (839_999, 840_000), (5, 10**9)]
)
def test_any_range_can_be_read(snapshot, start, stop):
    assert snapshot.read("wide", start, stop) == values(SPECS[0])[start:stop]


def test_several_threads_may_read_at_once(snapshot):
    with ThreadPoolExecutor(4) as pool:
        assert all(found == values(SPECS[0]) for found in pool.map(lambda _: snapshot["wide"].tobytes(), range(12)))


@pytest.mark.parametrize("name", DTYPES)
def test_a_dtype_has_an_array_of_its_width_or_says_so(name):
    if DTYPES[name].bits < 8 or DTYPES[name].block_elements > 1:
        with pytest.raises(UsageError) as caught:
            numpy_dtype(name)
        assert caught.value.kind == "dtype-unsupported"
    else:
        assert numpy_dtype(name).itemsize * 8 == DTYPES[name].bits
        found, array = spec_of("x", numpy.zeros((2, 3), numpy_dtype(name)))
        assert (found.dtype.name, found.shape, array.nbytes) == (name, (2, 3), found.nbytes)


def test_an_array_that_is_as_it_should_be_is_not_copied():
    array = numpy.zeros((3, 4), "f4")
    assert numpy.shares_memory(spec_of("x", array)[1], array)
    assert not numpy.shares_memory(spec_of("x", array.T)[1], array)
