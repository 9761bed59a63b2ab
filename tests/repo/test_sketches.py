"""Sketches that are kept are those that would be made, go with their objects, and are missed by nobody."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest

from lamella.core.ids import digest
from lamella.formats.base import Box, TensorView
from lamella.formats.file import BytesFile
from lamella.model.sketch import SKETCH_NBYTES
from lamella.repo import sketches as module
from lamella.repo.arrays import spec_of
from lamella.repo.sketches import NAME, SketchCache
from lamella.repo.weights import ranges

KEYS = [(digest(str(number).encode()), "f32") for number in range(1000)]


def sketch(number):
    return number.to_bytes(4, "little") * (SKETCH_NBYTES // 4)


KEPT = {key: sketch(number) for number, key in enumerate(KEYS)}


@pytest.fixture
def cache(tmp_path):
    return SketchCache(tmp_path)


def test_what_was_kept_is_found(cache):
    assert cache.find(KEYS) == {}
    cache.keep(KEPT)
    assert cache.find(KEYS) == KEPT
    assert cache.find(KEYS[5:7]) == {key: KEPT[key] for key in KEYS[5:7]}


def test_the_same_bytes_in_another_dtype_are_another_tensor(cache):
    identity, _ = KEYS[0]
    cache.keep({(identity, "f32"): sketch(1), (identity, "bf16"): sketch(2)})
    assert cache.find([(identity, "bf16")]) == {(identity, "bf16"): sketch(2)}
    assert cache.find([(identity, "i32")]) == {}


def test_the_oldest_make_room(cache, monkeypatch):
    monkeypatch.setattr(module, "MOST_SKETCHES", 100)
    for start in range(0, 300, 50):
        cache.keep({key: KEPT[key] for key in KEYS[start : start + 50]})
    assert set(cache.find(KEYS)) == set(KEYS[200:300])


def test_what_is_gone_is_dropped(cache):
    cache.keep(KEPT)
    gone = {identity for identity, _ in KEYS[:10]}
    assert cache.drop(lambda asked: gone.intersection(asked)) == 10
    assert set(cache.find(KEYS)) == set(KEYS[10:])


def test_nothing_is_made_where_there_is_nothing_to_keep(cache, tmp_path):
    cache.keep({})
    assert cache.find(KEYS) == {}
    assert cache.drop(lambda asked: asked) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_database_is_replaced(cache, tmp_path, damage):
    cache.keep(KEPT)
    (tmp_path / NAME).write_bytes(damage)
    assert cache.find(KEYS) == {}
    cache.keep(KEPT)
    cache.keep(KEPT)
    assert cache.find(KEYS) == KEPT


def test_a_database_cut_anywhere_gives_nothing_wrong(cache, tmp_path):
    cache.keep(KEPT)
    whole = (tmp_path / NAME).read_bytes()
    for nbytes in range(0, len(whole), len(whole) // 60):
        (tmp_path / NAME).write_bytes(whole[:nbytes])
        assert cache.find(KEYS).items() <= KEPT.items()


def test_an_older_layout_is_made_anew(cache, tmp_path):
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("CREATE TABLE sketches (other)")
        connection.execute("PRAGMA user_version=77")
    connection.close()
    cache.keep(KEPT)
    assert cache.find(KEYS) == KEPT


def test_a_folder_that_is_gone_is_no_error(cache, tmp_path):
    tmp_path.rmdir()
    cache.keep(KEPT)
    assert cache.find(KEYS) == {}


def test_several_write_at_once(tmp_path):
    def keep(start):
        SketchCache(tmp_path).keep({key: KEPT[key] for key in KEYS[start : start + 100]})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(0, 1000, 50)))
    assert SketchCache(tmp_path).find(KEYS) == KEPT


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_ranges_of_a_view_are_those_of_its_tensor(swapped, transposed):
    array = numpy.arange(300 * 200, dtype=">f4" if swapped else "<f4").reshape(300, 200)
    spec, contiguous = spec_of("a", (array.T if transposed else array).astype("<f4"))
    strides = (4, 800) if transposed else (800, 4)
    view = TensorView(spec, (Box((0, 0), spec.shape, 0, strides),), swapped)
    read = ranges(BytesFile(array.tobytes()), view)
    whole = contiguous.tobytes()
    for start, stop in ((0, 8), (4, 400), (100_000, 100_012), (len(whole) - 4, len(whole))):
        assert bytes(read(start, stop)) == whole[start:stop]
