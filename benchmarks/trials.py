"""A contender at work: a base and its fine-tunes stored one after another, then the last one brought back."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure, peers
from benchmarks.measure import Cost
from benchmarks.peers import MODEL, Command, Contender


@dataclass(frozen=True, slots=True)
class Trial:
    """What one contender took for each version it stored, for the checkout of the last, and on the disk at the end."""

    adds: tuple[Cost, ...]
    checkout: Cost
    stored_nbytes: int


class Workplace:
    """A fresh directory in which one contender works, with a home of its own beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "work"
        self.model = self.directory / MODEL
        self.environment = peers.environment(directory / "home")
        for made in (self.directory, directory / "home"):
            made.mkdir()

    def run(self, commands: tuple[Command, ...], version: int) -> Cost:
        """Run the commands for one version with nothing left to write from before, and return what they took."""
        os.sync()
        return measure.in_turn(
            measure.run(command, self.directory, self.environment) for command in peers.commands(commands, version)
        )

    def store(self, contender: Contender, source: Path, version: int) -> Cost:
        """Put `source` in the worktree, store it as a version, and return what the storing alone took."""
        shutil.copyfile(source, self.model)
        cost = self.run(contender.add, version)
        self.run(contender.keep, version)
        return cost


@contextlib.contextmanager
def workplace(work: Path) -> Iterator[Workplace]:
    """Lend a workplace under `work`."""
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as directory:
        yield Workplace(Path(directory))


def trial(contender: Contender, versions: Sequence[Path], work: Path) -> Trial:
    """Store `versions` in turn and bring the last one back; raise CommandError where it is not what was stored."""
    with workplace(work) as place:
        place.run(contender.prepare, 0)
        adds = tuple(place.store(contender, source, number) for number, source in enumerate(versions))
        last = len(versions) - 1
        place.run(contender.away, last)
        checkout = place.run(contender.checkout, last)
        if not filecmp.cmp(versions[-1], place.model, shallow=False):
            raise measure.CommandError(f"{contender.name} brought back another file than it was given")
        os.sync()
        return Trial(adds, checkout, measure.stored_nbytes(place.directory, without=MODEL))


def alternating(
    contenders: Sequence[Contender], versions: Sequence[Path], work: Path, rounds: int
) -> list[list[Trial]]:
    """Return the trials of each contender; every round tries each once, so that all share the machine's moods."""
    trials: list[list[Trial]] = [[] for _ in contenders]
    for number in range(rounds):
        for contender, listed in zip(contenders, trials, strict=True):
            print(f"  round {number + 1} of {rounds}: {contender.name}", flush=True)
            listed.append(trial(contender, versions, work))
    return trials
