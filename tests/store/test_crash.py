"""The power goes, or the disk refuses, at every single change that an operation makes."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from lamella.core import fsio
from lamella.core.errors import BackendError
from lamella.store.gc import sweep
from lamella.store.objects import ObjectStore
from lamella.testing.faults import changes_of, power_cut, refused
from tests.store.scenarios import QUIET, SCENARIOS, STORE, Scenario, faults_of


@pytest.fixture(params=SCENARIOS, ids=str)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    return SCENARIOS[request.param]


@pytest.fixture
def prepared(scenario: Scenario, tmp_path: Path) -> Path:
    root = tmp_path / "prepared"
    root.mkdir()
    scenario.prepare(root)
    return root


def copy(prepared: Path, name: str) -> Path:
    return shutil.copytree(prepared, prepared.with_name(name))


def temporaries(root: Path) -> list[str]:
    return [path.name for path in root.rglob(f"{fsio.TEMPORARY_PREFIX}*")]


def count_changes(scenario: Scenario, prepared: Path) -> int:
    root = copy(prepared, "undisturbed")
    count = len(changes_of(lambda: scenario.run(root)))
    assert faults_of(root, scenario, finished=True) == []
    return count


def test_a_power_cut_at_any_change_leaves_all_or_nothing_and_the_operation_can_be_repeated(scenario, prepared):
    for number in range(count_changes(scenario, prepared)):
        root = copy(prepared, f"cut-{number}")
        with power_cut(number):
            scenario.run(root)
        assert faults_of(root, scenario, finished=False) == [], f"after change {number}"
        scenario.run(root)
        assert faults_of(root, scenario, finished=True, repeated=True) == [], f"repeated after change {number}"
        with ObjectStore(root / STORE, QUIET) as store:
            sweep(store)
        assert temporaries(root) == []


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_refusal_at_any_change_is_reported_and_leaves_the_store_whole(scenario, prepared, error, lasting):
    for number in range(count_changes(scenario, prepared)):
        root = copy(prepared, f"refused-{number}")
        failed = False
        with refused(number, error, lasting=lasting):
            try:
                scenario.run(root)
            except BackendError as exc:
                failed = True
                assert exc.kind in ("no-space", "io-failed", "read-only")
        assert faults_of(root, scenario, finished=False) == [], f"change {number}"
        if not failed and scenario.packs_after is None:
            assert faults_of(root, scenario, finished=True) == [], f"change {number} was swallowed"
        if not lasting:
            assert temporaries(root) == [], f"change {number}"
        scenario.run(root)
        assert faults_of(root, scenario, finished=True, repeated=True) == [], f"repeated after change {number}"
