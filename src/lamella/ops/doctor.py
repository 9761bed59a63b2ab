"""`doctor`: whether everything Lamella stands on is as it should be, and what to do where it is not."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lamella.codec import kernels as coding
from lamella.core.errors import LamellaError
from lamella.model import kernels as measuring
from lamella.repo import attributes, hooks, setup
from lamella.repo.filling import unfilled
from lamella.repo.repository import Repository

OLDEST_DURABLE_GIT = (2, 36)
"""The first Git that flushes loose objects and references when it is asked to."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `state` is ok, warning or problem; `hint` says what to do where it is not ok."""

    subject: str
    state: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Everything that was looked at."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether there is no problem; warnings are none."""
        return all(finding.state != "problem" for finding in self.findings)


def doctor(repository: Repository) -> DoctorReport:
    """Look at the program, Git, the settings, the hooks, the store and the worktree; change nothing."""
    checks: tuple[Callable[[Repository], Iterator[Finding]], ...] = (_kernels, _git, _settings, _hooks, _store, _files)
    findings: list[Finding] = []
    for check in checks:
        try:
            findings.extend(check(repository))
        except LamellaError as error:
            findings.append(Finding(check.__name__.strip("_"), "problem", error.message, error.hint))
    return DoctorReport(tuple(findings))


def _kernels(_: Repository) -> Iterator[Finding]:
    if coding.IS_NATIVE and measuring.IS_NATIVE:
        yield Finding("kernels", "ok", "native")
    else:
        yield Finding("kernels", "warning", "plain Python, many times slower", "install again with a C++ compiler")


def _git(repository: Repository) -> Iterator[Finding]:
    text = repository.git.run("version").decode().strip()
    found = re.search(r"(\d+)\.(\d+)", text)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version >= OLDEST_DURABLE_GIT:
        yield Finding("git", "ok", text)
    else:
        yield Finding("git", "warning", f"{text} does not flush its objects to disk", "upgrade to Git 2.36 or newer")


def _settings(repository: Repository) -> Iterator[Finding]:
    settings = setup.installed(repository.git)
    missing = sorted({"filter.lamella.process", "filter.lamella.required"} - settings.keys())
    if missing:
        yield Finding("settings", "problem", f"{', '.join(missing)} not set", "run `lamella init`")
    elif not setup.can_start(settings["filter.lamella.process"], repository.git.environment):
        message = f"Git cannot start `{settings['filter.lamella.process']}`"
        yield Finding("settings", "problem", message, "run `lamella init`")
    else:
        yield Finding("settings", "ok", "Git passes model files through lamella")
    if not setup.merges_by_us(repository.git):
        message = "merge.lamella.driver not set: Git merges model files as text"
        yield Finding("merging", "warning", message, "run `lamella init`")
    if repository.git.worktree is not None:
        patterns = attributes.all_patterns(repository.git)
        if patterns:
            yield Finding("patterns", "ok", ", ".join(patterns))
        else:
            yield Finding("patterns", "warning", "no file is tracked", "run `lamella track --models`")


def _hooks(repository: Repository) -> Iterator[Finding]:
    missing = set(hooks.NAMES) - set(hooks.installed(repository.git))
    if missing:
        shared = hooks.shared_directory(repository.git)
        hint = "run `lamella init`" + (f", which says what to add to the hooks in {shared}" if shared else "")
        yield Finding("hooks", "warning", f"not set up: {', '.join(sorted(missing))}", hint)
    else:
        yield Finding("hooks", "ok", ", ".join(hooks.NAMES))


def _store(repository: Repository) -> Iterator[Finding]:
    if not repository.store_directory.is_dir():
        yield Finding("store", "problem", "there is none", "run `lamella init`")
        return
    if not os.access(repository.store_directory, os.W_OK):
        yield Finding("store", "warning", "cannot be written here", "check the owner and the permissions")
    sizes = repository.store.pack_sizes()
    count = repository.store.index.count()
    message = f"{_counted(count, 'object')} in {_counted(len(sizes), 'pack')}, {sum(sizes.values()):,} bytes"
    yield Finding("store", "ok", message)
    if repository.store.quarantine.is_dir():
        aside = len(list(repository.store.quarantine.iterdir()))
        hint = f"delete {repository.store.quarantine} once you need nothing from it"
        yield Finding("quarantine", "warning", f"{_counted(aside, 'damaged pack')} set aside", hint)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _files(repository: Repository) -> Iterator[Finding]:
    if repository.git.worktree is None:
        return
    waiting = [item.entry.path for item in unfilled(repository)]
    if waiting:
        more = ", ..." if len(waiting) > 3 else ""
        message = f"{_counted(len(waiting), 'manifest')} in place of models: {', '.join(waiting[:3])}{more}"
        yield Finding("files", "warning", message, "run `lamella checkout`")
    else:
        yield Finding("files", "ok", "every model file is in the worktree")
