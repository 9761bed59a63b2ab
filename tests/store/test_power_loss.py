"""The power goes and takes along any of the changes that were not flushed: every state that the model allows."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.core import fsio
from lamella.testing.powerloss import Recording, recording, states, write_tree
from tests.store.scenarios import SCENARIOS, STORE, Scenario, faults_of


@pytest.fixture(params=SCENARIOS, ids=str)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    return SCENARIOS[request.param]


@pytest.fixture
def run(scenario: Scenario, tmp_path: Path) -> Recording:
    root = tmp_path / "recorded"
    root.mkdir()
    scenario.prepare(root)
    with recording(root, ignored=f"{STORE}/index.db") as found:
        scenario.run(root)
    return found[0]


def violations(run: Recording, scenario: Scenario, directory: Path) -> Iterator[str]:
    """Yield what is wrong with any state of `run`."""
    for number, (steps, tree) in enumerate(states(run)):
        root = directory / str(number)
        write_tree(tree, root)
        for fault in faults_of(root, scenario, finished=steps == len(run.steps)):
            yield f"state {number} after {steps} of {len(run.steps)} steps: {fault}"
        shutil.rmtree(root)


def test_every_state_that_a_power_cut_may_leave_is_sound(run, scenario, tmp_path):
    assert list(violations(run, scenario, tmp_path / "states")) == []


# Salvage with copies is setting aside and then adding, which flushes the same directory once more, and so does each
# round of a repack.
@pytest.mark.parametrize("scenario", sorted(SCENARIOS.keys() - {"salvage", "repack-in-rounds"}), ids=str, indirect=True)
def test_without_any_one_of_its_flushes_some_state_is_not_sound(run, scenario, tmp_path):
    needless = [
        run.steps[number]
        for number in run.flushes()
        if next(violations(run.without_flush(number), scenario, tmp_path / f"without-{number}"), None) is None
    ]
    assert needless == []


def test_the_model_knows_that_an_unflushed_file_may_be_torn_or_nameless(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    with recording(root, ignored="nothing") as found:
        fsio.write_file(root / "file", b"x" * 2000, durable=False)
    contents = {dict(tree).get("file") for _, tree in states(found[0])}
    assert contents == {None, b"", b"x" * 512, b"x" * 2000}
    assert len(list(itertools.islice(states(found[0]), 3))) == 3
