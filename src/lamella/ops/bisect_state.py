"""What a search for a first bad version was asked, and what each version came to: kept so that it can be continued."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamella.core import fsio, locks
from lamella.core.errors import ConflictError, FormatError
from lamella.core.limits import MAX_BISECT_STATE_NBYTES
from lamella.ops.verdict import BAD, GOOD, SKIPPED, Criterion, Verdict
from lamella.repo.git import GitOid
from lamella.repo.repository import Repository

VERSION = 1
STATE, LOCK, TREE, LAYERS = "bisect.json", "bisect.lock", "bisect-worktree", "bisect-layers"
"""In the directory of the store: this file, who searches, and where versions and mixtures of layers are looked at."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is searched: between which versions, by which command, and what counts as bad.

    `paths` are those that a version has to change to be a suspect.
    """

    command: str
    directory: str
    good: GitOid
    bad: GitOid
    paths: tuple[str, ...]
    criterion: Criterion
    timeout_seconds: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A version, what it came to, and why it was skipped where it was not the command that said so."""

    commit: GitOid
    verdict: Verdict
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class BisectState:
    """A question with the versions that were tested, in order, and the answer, "" where there is none to be had.

    `answer` is None while the search is not at its end.
    """

    question: Question
    outcomes: tuple[Outcome, ...] = ()
    answer: str | None = None

    @property
    def evaluations(self) -> int:
        """How often the command was run."""
        return sum(len(one.verdict.statuses) for one in self.outcomes)

    def find(self, commit: str) -> Outcome | None:
        """Return what a version came to, None where it was not tested."""
        return next((one for one in self.outcomes if one.commit == commit), None)


@contextlib.contextmanager
def alone(repository: Repository) -> Iterator[None]:
    """Keep other searches out of the repository; raise ConflictError (lock-held) where one is running."""
    fsio.make_directory(repository.store_directory)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locks.lock(repository.store_directory / LOCK, exclusive=True, blocking=False))
        except ConflictError as exc:
            hint = "wait for it to end, or interrupt it"
            raise ConflictError("a search for what is bad is running here", kind="lock-held", hint=hint) from exc
        yield


def load_state(repository: Repository) -> BisectState | None:
    """Return the search that was begun last, None where there is none; raise FormatError (settings-malformed)."""
    path = _path(repository)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BISECT_STATE_NBYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise fsio.backend_error(exc, path, reading=True) from exc
    try:
        return _parsed(text)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as exc:
        hint = "`lamella bisect reset` forgets it"
        raise FormatError(f"{path} is no search of this version", kind="settings-malformed", hint=hint) from exc


def save_state(repository: Repository, state: BisectState) -> None:
    """Keep a search, durably, in place of the one before."""
    path = _path(repository)
    fsio.make_directory(path.parent)
    text = json.dumps({"version": VERSION, **dataclasses.asdict(state)}, indent=1)
    fsio.write_file(path, f"{text}\n".encode())


def forget_state(repository: Repository) -> None:
    """Remove the search that is kept."""
    fsio.remove(_path(repository))


def _path(repository: Repository) -> Path:
    return repository.store_directory / STATE


def _parsed(text: bytes) -> BisectState:
    """Return what `save_state` wrote; raise what Python does where it is something else."""
    found: Any = json.loads(text) if len(text) <= MAX_BISECT_STATE_NBYTES else {"version": None}
    if found["version"] != VERSION:
        raise ValueError("another version")
    asked, answer = found["question"], found["answer"]
    limit = asked["timeout_seconds"]
    question = Question(
        _text(asked["command"]), _text(asked["directory"]), GitOid(_text(asked["good"])), GitOid(_text(asked["bad"])),
        tuple(map(_text, asked["paths"])), Criterion(**asked["criterion"]),
        None if limit is None else float(limit),
    )  # fmt: skip
    outcomes = tuple(_outcome(one) for one in found["outcomes"])
    return BisectState(question, outcomes, None if answer is None else _text(answer))


def _outcome(found: Any) -> Outcome:
    told, reason = found["verdict"], found["reason"]
    if told["what"] not in (GOOD, BAD, SKIPPED):
        raise ValueError("no verdict")
    values, statuses = tuple(map(float, told["values"])), tuple(map(int, told["statuses"]))
    verdict = Verdict(told["what"], values, statuses, float(told["seconds"]))
    return Outcome(GitOid(_text(found["commit"])), verdict, None if reason is None else _text(reason))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
