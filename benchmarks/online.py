"""Online learning: after every round of training a running average moves, and now and then it is rolled back.

Each round commits what was trained on `main`, moves the average on `prod`, and restores it as who serves it would. No
round is to take longer for those before it, so the last hundred are held against the first hundred.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.report import ROOT, Row

ROUNDS, BETWEEN_ROLLBACKS, BACK = 1000, 100, 10
TENSORS, WIDTH = 24, 96
DECAY = 0.99
MODEL = "model.safetensors"
MOST_GROWTH = 1.5
"""What the last rounds may take of the processors, as a multiple of the first: no two rounds are quite alike."""


@dataclass
class Timings:
    """What every round took, by what was done: seconds on the wall, and those of all processors and processes."""

    seconds: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def timed(self, what: str, act: Callable[[], object]) -> None:
        """Do something and keep what it took."""
        start = time.perf_counter(), sum(os.times()[:4])
        act()
        wall, processors = time.perf_counter() - start[0], sum(os.times()[:4]) - start[1]
        self.seconds.setdefault(what, []).append((wall, processors))

    def mean(self, what: str, which: slice) -> tuple[float, float]:
        """Return what some rounds took on the mean, in milliseconds; the system counts processors in hundredths."""
        rounds = self.seconds[what][which]
        wall, processors = (1000 * sum(column) / len(rounds) for column in zip(*rounds, strict=True))
        return wall, processors


def start(folder: Path, model: dict[str, np.ndarray]) -> None:
    """Make a repository with a first version and the branch of the average."""
    from lamella import Repo

    git = ["git", "-C", str(folder)]
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(folder)], check=True)
    for key, value in (("user.name", "Bench"), ("user.email", "bench@example.org")):
        subprocess.run([*git, "config", key, value], check=True)
    for words in (["init", "-q"], ["track", MODEL]):
        subprocess.run([Path(sys.executable).with_name("lamella"), "-C", str(folder), *words], check=True)
    with Repo.open(folder) as repo:
        repo.commit(model, MODEL, "start")
    subprocess.run([*git, "branch", "prod"], check=True)


def restore(folder: Path) -> None:
    """Read the average's file to its end, as a program that has just been started."""
    from lamella.repo.checkout import file_pieces
    from lamella.repo.repository import Repository

    with Repository.open(folder) as repository:
        for _ in file_pieces(repository.existing_store(), repository.manifest("prod", MODEL)):
            pass


def learn(folder: Path, rounds: int) -> Timings:
    """Train, average, restore, and every hundred rounds go back."""
    from lamella.ops.commit import commit
    from lamella.ops.merge_average import merge_average
    from lamella.ops.rollback import rollback
    from lamella.repo.repository import Repository

    generator, timings = np.random.default_rng(0), Timings()
    model = {f"h.{n}.weight": generator.standard_normal((WIDTH, WIDTH), np.float32) for n in range(TENSORS)}
    start(folder, model)
    for number in range(1, rounds + 1):
        model = {
            name: value + np.float32(1e-3) * generator.standard_normal(value.shape, np.float32)
            for name, value in model.items()
        }
        with Repository.open(folder) as repository:
            timings.timed("commit", lambda: commit(repository, model, MODEL, f"round {number}"))  # noqa: B023
            timings.timed("update", lambda: merge_average(repository, "main", "prod", DECAY))
            if not number % BETWEEN_ROLLBACKS:
                timings.timed(
                    "rollback",
                    lambda: rollback(repository, [MODEL], f"prod~{BACK}", branch="prod"),
                )
        timings.timed("restore", lambda: restore(folder))
    return timings


def measured(folder: Path, timings: Timings) -> list[Row]:
    """Return the first and last hundred of each kind of round, and what lies on disk at the end."""
    rows = []
    for what in ("commit", "update", "restore"):
        first, last = timings.mean(what, slice(0, 100)), timings.mean(what, slice(-100, None))
        rows += [
            Row("online", "lamella", f"{what}, first 100", first[0], "ms"),
            Row("online", "lamella", f"{what}, last 100", last[0], "ms"),
            Row("online", "lamella", f"{what}, first 100", first[1], "cpu ms"),
            Row("online", "lamella", f"{what}, last 100", last[1], "cpu ms", MOST_GROWTH * first[1]),
        ]
    if "rollback" in timings.seconds:
        rows.append(Row("online", "lamella", "rollback", timings.mean("rollback", slice(None))[0], "ms"))
    packs = list((folder / ".git/lamella/packs").glob("*"))
    rounds = len(timings.seconds["update"])
    raw = (2 * rounds + 1) * TENSORS * WIDTH * WIDTH * 4
    objects = [file for file in (folder / ".git/objects").rglob("*") if file.is_file()]
    return [
        *rows,
        Row("online", "lamella", "packs", len(packs), "files"),
        Row("online", "lamella", "store, of all versions", sum(file.stat().st_size for file in packs) / raw, "share"),
        Row("online", "lamella", "Git's objects, a round", sum(file.stat().st_size for file in objects) / rounds, "B"),
        Row("online", "lamella", "Git's objects", len(objects), "files"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON, and return 1 where a promised bound was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.online", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--work", type=Path, default=ROOT / "bench-run", help="where the history is made")
    parser.add_argument("--output", type=Path, help="the JSON to write; under benchmarks/results by default")
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.work) as work:
        folder = Path(work, "repository")
        rows = measured(folder, learn(folder, given.rounds))
    print(report.table(rows))
    options: dict[str, object] = {"rounds": given.rounds, "tensors": TENSORS, "width": WIDTH, "decay": DECAY}
    return report.conclude("online", given.output, options, {}, rows)


if __name__ == "__main__":
    sys.exit(main())
