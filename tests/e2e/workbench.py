"""A repository as a user has it: real Git, the real program, and the files of the worktree."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lamella.ops.add import add
from lamella.repo.git import Git
from lamella.repo.repository import Repository

PROGRAM = str(Path(sys.executable).with_name("lamella"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def run(directory: Path, *command: str, given: str = "", env: Mapping[str, str] | None = None) -> Outcome:
    """Run any program to its end; what it prints that is no UTF-8 is kept by surrogates."""
    ended = subprocess.run(
        command,
        cwd=directory,
        input=os.fsencode(given),
        capture_output=True,
        env={**os.environ, **(env or {})},
        check=False,
    )
    return Outcome(ended.returncode, os.fsdecode(ended.stdout), os.fsdecode(ended.stderr))


class Workbench:
    """A worktree and what a user does in it. `git` and `lamella` start processes and must succeed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seconds = itertools.count()

    def try_git(self, *args: str, **options: object) -> Outcome:
        """Run plain Git, whatever comes of it."""
        return run(self.root, "git", *args, **options)

    def git(self, *args: str, **options: object) -> str:
        """Run plain Git and return what it printed, without the last newline."""
        ended = self.try_git(*args, **options)
        assert ended.code == 0, ended
        return ended.out.rstrip("\n")

    def try_lamella(self, *args: str, **options: object) -> Outcome:
        """Run the program, whatever comes of it."""
        return run(self.root, PROGRAM, *args, **options)

    def lamella(self, *args: str, **options: object) -> str:
        """Run the program and return what it printed, without the last newline."""
        ended = self.try_lamella(*args, **options)
        assert ended.code == 0, ended
        return ended.out.rstrip("\n")

    def write(self, path: str, content: bytes) -> Path:
        """Write a file of the worktree, old enough for Git to trust its timestamp, each time in another second."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        moment = time.time() - 1000 + next(self._seconds)
        os.utime(file, (moment, moment))
        return file

    def read(self, path: str) -> bytes:
        """Return the content of a file of the worktree."""
        return (self.root / path).read_bytes()

    def commit(self, path: str, content: bytes, message: str = "change") -> str:
        """Write, add and commit one model in this process, and return the commit."""
        self.write(path, content)
        with self.repository() as repository:
            add(repository, [path])
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def repository(self) -> Repository:
        """Open the repository in this process."""
        return Repository.open(self.root)

    def blob(self, specification: str) -> bytes:
        """Return the content of a blob as Git keeps it."""
        return Git.discover(self.root).run("cat-file", "blob", specification)

    def filters_run(self, *args: str) -> int:
        """Run plain Git and return how many filter processes it started."""
        trace = self.root.parent / "trace"
        trace.unlink(missing_ok=True)
        self.git(*args, env={"GIT_TRACE": str(trace)})
        return trace.read_text().count("filter-process")
