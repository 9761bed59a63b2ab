"""Stores that earlier versions wrote are read for ever; `scripts/make_store_fixture.py` made them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lamella.core.ids import digest, from_hex
from lamella.store.check import check_store
from lamella.store.objects import ObjectStore
from lamella.store.pack import VERSION
from lamella.store.writer import add_objects
from lamella.testing.packs import ONE_THREAD
from scripts import make_store_fixture
from tests.store.scenarios import source

GOLDEN = Path(__file__).parents[1] / "golden" / "store"

PACKS = {
    "v1": {
        "03b2487eff49d9f4238131ec4279958f46b4ccb8": "4c3a2f99548821ad2278a5802690e8632b82e065888ec47596fff4875acb5c45",
        "5008d99e384569c0d7eae31ccac4fde7de0cca3b": "1a3053cea6e55847e1d22fb0ad4a099891e4cb55acd4df2acb8c75476f784f88",
        "e1309003de187e55cc8199ce72c817d5d6baee61": "62a61a8b94301766de4755932019994445e2405b8b146e9ff38a23d837fe989d",
    },
}
"""The digest of every pack of every fixture, so that an edited one is noticed."""


@pytest.fixture(params=sorted(PACKS))
def fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return shutil.copytree(GOLDEN / request.param, tmp_path / request.param)


def test_there_is_a_fixture_of_every_version():
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(PACKS)
    assert f"v{VERSION}" in PACKS


def test_nobody_edited_a_fixture(fixture):
    packs = {path.stem: digest(path.read_bytes()).hex() for path in (fixture / "packs").iterdir()}
    assert packs == PACKS[fixture.name]
    assert sorted(path.name for path in fixture.iterdir()) == ["expected.json", "packs"]


def test_every_object_of_a_fixture_is_read(fixture):
    expected = json.loads((fixture / "expected.json").read_text())
    assert f"v{expected['version']}" == fixture.name
    with ObjectStore(fixture, ONE_THREAD) as store:
        for name, told in expected["objects"].items():
            chain = store.open(from_hex(told["id"]))
            data = chain.read()
            assert digest(data).hex() == told["id"], name
            assert (len(data), chain.head.item_nbytes, chain.head.depth) == (
                told["nbytes"],
                told["item_nbytes"],
                told["depth"],
            )
        checked = check_store(store)
        assert (checked.objects, checked.damage, checked.unreadable) == (len(expected["objects"]), (), frozenset())


def test_a_fixture_can_be_added_to_and_leaned_on(fixture):
    expected = json.loads((fixture / "expected.json").read_text())["objects"]
    with ObjectStore(fixture, ONE_THREAD, create=True) as store:
        for told in expected.values():
            data = bytes(store.read(from_hex(told["id"])))
            nearly = data[:-1] + b"\x01"
            add_objects(store, [source(nearly, told["item_nbytes"], data)])
            assert store.read(digest(nearly)) == nearly


def test_the_fixture_of_this_version_has_what_its_script_says():
    expected = json.loads((GOLDEN / f"v{VERSION}" / "expected.json").read_text())["objects"]
    made = {name: data for pack in make_store_fixture.contents() for name, _, data, _ in pack}
    assert {name: digest(data).hex() for name, data in made.items()} == {
        name: told["id"] for name, told in expected.items()
    }
    assert {told["depth"] for told in expected.values()} == {0, 1, 2}
    assert {told["item_nbytes"] for told in expected.values()} == {1, 2, 4, 8}
