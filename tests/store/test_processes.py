"""Several processes write, merge, collect and die at once, and nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import lamella
from lamella.core import fsio
from lamella.core.ids import digest, from_hex
from lamella.store.check import check_store
from lamella.store.gc import sweep
from lamella.store.objects import ObjectStore
from lamella.testing.packs import ONE_THREAD
from tests.store import worker

SOURCES = os.fspath(Path(lamella.__file__).parents[1])
WORKERS, ROUNDS, ENDLESS, KILLS = 4, 60, 1_000_000, 25


class Process:
    """A worker whose acknowledgements go to a file, which outlives it."""

    def __init__(self, directory: Path, role: str, seed: int, count: int = ROUNDS) -> None:
        self.log = directory / f"{role}-{seed}.log"
        self.errors = directory / f"{role}-{seed}.errors"
        with self.log.open("wb") as out, self.errors.open("wb") as errors:
            self.running = subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "error",
                    worker.__file__,
                    role,
                    os.fspath(directory / "store"),
                    str(seed),
                    str(count),
                ],
                stdout=out,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": SOURCES},
            )

    def acknowledged(self) -> set[tuple[int, str]]:
        """Return the versions and ids in whole lines of the log."""
        lines = self.log.read_text().split("\n")[:-1]
        return {(int(number), identity) for number, identity in map(str.split, lines)}

    def kill(self) -> None:
        self.running.send_signal(signal.SIGKILL)
        self.running.wait()

    def end(self) -> None:
        """Wait for the end, which must be a good one."""
        assert self.running.wait(timeout=120) == 0, self.errors.read_text()


def assert_nothing_lost(directory: Path, processes: list[Process]) -> int:
    """Read every acknowledged object in a fresh process's way, and return how many there are."""
    acknowledged = set().union(*(process.acknowledged() for process in processes))
    with ObjectStore(directory / "store", ONE_THREAD) as store:
        for number, identity in acknowledged:
            assert digest(worker.content(number)) == from_hex(identity)
            assert store.read(from_hex(identity)) == worker.content(number)
        checked = check_store(store)
        assert (checked.damage, checked.unreadable) == ((), frozenset())
        sweep(store)
        left = [path.name for path in store.directory.rglob(f"{fsio.TEMPORARY_PREFIX}*")]
        assert left == []
        assert store.index.count() >= len(acknowledged)
    return len(acknowledged)


def test_nothing_acknowledged_is_lost_while_others_merge_and_collect(tmp_path):
    tidiers = [Process(tmp_path, "tidy", seed) for seed in range(2)]
    adders = [Process(tmp_path, "add", seed) for seed in range(WORKERS)]
    try:
        for process in adders:
            process.end()
    finally:
        for process in (*tidiers, *adders):
            process.kill()
    for process in tidiers:
        assert process.errors.read_text() == ""
    assert assert_nothing_lost(tmp_path, adders) > 100


def test_nothing_acknowledged_is_lost_when_processes_are_killed(tmp_path):
    choices = random.Random(1)
    tidier = Process(tmp_path, "tidy", 0)
    adders = [Process(tmp_path, "add", seed, ENDLESS) for seed in range(WORKERS)]
    dead: list[Process] = []
    deadline = time.monotonic() + 60
    try:
        while len(dead) < KILLS or sum(len(one.acknowledged()) for one in dead) < 100:
            assert time.monotonic() < deadline
            time.sleep(choices.uniform(0.02, 0.35))
            victim = choices.choice([tidier, *adders])
            assert victim.running.poll() is None, victim.errors.read_text()
            victim.kill()
            dead.append(victim)
            assert victim.errors.read_text() == ""
            if victim is tidier:
                tidier = Process(tmp_path, "tidy", 100 + len(dead))
            else:
                adders.remove(victim)
                adders.append(Process(tmp_path, "add", 1000 + len(dead), ENDLESS))
    finally:
        for process in (tidier, *adders):
            process.kill()
    everyone = [process for process in (*dead, *adders) if process.log.name.startswith("add")]
    assert assert_nothing_lost(tmp_path, everyone) >= 20
