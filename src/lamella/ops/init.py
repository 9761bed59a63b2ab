"""`init` and `uninstall`: what Lamella sets up in a repository, and taking it away again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lamella.core import fsio
from lamella.core.errors import UsageError
from lamella.core.fsio import TEMPORARY_PREFIX
from lamella.repo import hooks, setup
from lamella.repo.git import Git
from lamella.repo.manifest import PREFIX
from lamella.repo.repository import Repository
from lamella.repo.worktree import model_entries, put_entries

_EXCLUDED = f"{TEMPORARY_PREFIX}*\n".encode()
"""The line of `info/exclude` that hides the unfinished files of a killed process."""


@dataclass(frozen=True, slots=True)
class InitReport:
    """What was set up: each step that changed something, and in `notes` what is left to the user."""

    worktree: str
    created: bool
    steps: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UninstallReport:
    """What was removed, and what stays."""

    steps: tuple[str, ...]
    store: str


def init(directory: Path, command: str, environment: Mapping[str, str] | None = None) -> InitReport:
    """Set Lamella up in the repository around `directory`, which becomes one where there is none.

    `command` is how Git starts this program, quoted for a shell. Doing it again changes nothing, or repairs.
    """
    git = _discover(directory, environment)
    created = git is None
    git = git or Git.init(directory, environment=environment)
    steps = [f"made a Git repository in {git.root}"] if created else []
    with Repository(git) as repository:
        if not (repository.store_directory / "packs").is_dir():
            steps.append(f"made the store in {repository.store_directory}")
        fsio.make_directory(repository.store.temporary)
        whole = _look_again_at_whole_models(repository)
    if changed := setup.install(git, command):
        steps.append(f"told Git to pass model files through lamella ({len(changed)} settings)")
    if _exclude(git, excluded=True):
        steps.append("told Git to ignore unfinished files")
    installed = hooks.install(git, command)
    steps += [f"set up the hook {name}" for name in installed.changed]
    names = ", ".join(whole[:3]) + (", ..." if len(whole) > 3 else "")
    notes = (f"{names}: in git whole, and kept the new way once you `lamella add` it",) if whole else ()
    return InitReport(str(git.root), created, tuple(steps), installed.notes + notes)


def _look_again_at_whole_models(repository: Repository) -> list[str]:
    """Let Git compare what it staged by itself, before it was told of us, and return the paths."""
    if repository.git.worktree is None:
        return []
    entries = [entry for entry in model_entries(repository) if not entry.stage]
    with repository.reader() as reader:
        blobs = list(reader.read_each([entry.oid for entry in entries], prefix=PREFIX))
    whole = [entry for entry, blob in zip(entries, blobs, strict=True) if blob and blob.nbytes and not blob.matches]
    put_entries(repository, whole)
    return [entry.path for entry in whole]


def lacks_setup(repository: Repository) -> bool:
    """Say whether the index has model files and Git, which does not call us here, would keep the next one whole."""
    if repository.git.worktree is None or setup.calls_us(repository.git):
        return False
    return bool(model_entries(repository))


def _discover(directory: Path, environment: Mapping[str, str] | None) -> Git | None:
    if not directory.exists():
        return None
    try:
        return Git.discover(directory, environment)
    except UsageError as exc:
        if exc.kind != "not-a-repository":
            raise
        return None


def _exclude(git: Git, *, excluded: bool) -> bool:
    """Let Git ignore unfinished files, or no longer; say whether that is new."""
    path = git.common_dir / "info" / "exclude"
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    if (_EXCLUDED in lines) == excluded:
        return False
    if not excluded:
        lines.remove(_EXCLUDED)
    else:
        if lines and not lines[-1].endswith(b"\n"):
            lines[-1] += b"\n"
        lines.append(_EXCLUDED)
    fsio.make_directory(path.parent)
    fsio.write_file(path, b"".join(lines))
    return True


def uninstall(repository: Repository) -> UninstallReport:
    """Remove the settings and hooks; the store, the history and the files of the worktree stay as they are."""
    removed = setup.uninstall(repository.git)
    _exclude(repository.git, excluded=False)
    steps = [f"removed {len(removed)} settings of Git"] if removed else []
    steps += [f"removed the hook {name}" for name in hooks.uninstall(repository.git)]
    return UninstallReport(tuple(steps), str(repository.store_directory))
