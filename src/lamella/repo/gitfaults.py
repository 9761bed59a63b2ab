"""What it means when the git program ends badly: the one place where its words become our errors."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from pathlib import Path

from lamella.core.errors import BackendError, ConflictError, LamellaError, NotFoundError, UsageError

_NOT_OURS = "if you trust the folder of somebody else: `git config --global --add safe.directory <folder>`"
_NAMES = "`git branch --all` and `git tag` list the names there are"
_DAMAGE = "`git fsck` says what is damaged"

_DAMAGED = (
    r"bad object (HEAD|refs/)|corrupt|missing (blob|tree|commit|tag) object|unable to read|Could not read|"
    r"unable to (stream|unpack)|inflate:|Input/output error"
)
_UNKNOWN = (
    r"unknown revision|[Bb]ad revision|Needed a single revision|[Nn]ot a valid (object|commit) name|"
    r"invalid (object name|reference)|bad object|no upstream configured|not something we can merge"
)

_FAULTS: tuple[tuple[str, type[LamellaError], str, str], ...] = (
    (r"not a git repository", UsageError, "not-a-repository", "run `lamella init` here, or go into a repository"),
    (r"dubious ownership", UsageError, "git-refused", _NOT_OURS),
    (r"is outside repository", UsageError, "path-outside-worktree", "name a path inside of the repository"),
    (r"\.lock': File exists", ConflictError, "lock-held", "wait for the other git command to end, then run again"),
    (r"Not possible to fast-forward", UsageError, "git-refused", "leave out --ff-only, and see `git config merge.ff`"),
    (r"would be overwritten by", ConflictError, "local-changes", "commit them, or put them aside with `git stash`"),
    (r"No space left|Disk quota", BackendError, "no-space", "free some space and run the command again"),
    (r"Permission denied|Read-only file system", BackendError, "read-only", "check the owner and the permissions"),
    (_DAMAGED, BackendError, "git-failed", _DAMAGE),
    (r"pathspec .* did not match", NotFoundError, "path-unknown", "`git ls-files` lists the paths that Git knows"),
    (_UNKNOWN, NotFoundError, "revision-unknown", _NAMES),
)
"""In the order in which they are tried, on messages in English (LC_ALL=C)."""


_SHOWN = 5
"""Names that a message repeats."""


def failure(args: Sequence[str], returncode: int, stderr: bytes) -> LamellaError:
    """Return the error that says what a git command meant by ending with `returncode`."""
    text = stderr.decode("utf-8", "replace")
    if returncode == 127 and text.startswith("env: "):
        return _no_git(text.removeprefix("env: ").strip())
    verb = next((arg for arg in args if not arg.startswith("-")), "")
    if returncode < 0:
        ended = f"git {verb} was ended by signal {-returncode}"
        return BackendError(ended, kind="git-failed", hint="run the command again")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("fatal: ", "error: "))] or lines
    message = said[-1].removeprefix("fatal: ").removeprefix("error: ").rstrip(".") if said else ""
    if message.endswith(":"):  # names follow, each on a line of its own
        named = [line.strip() for line in text.splitlines() if line.startswith("\t")]
        message = f"{message} {', '.join(named[:_SHOWN])}{', ...' if len(named) > _SHOWN else ''}"
    message = message or f"git {verb} ended with status {returncode}"
    for pattern, error, kind, hint in _FAULTS:
        if re.search(pattern, text):
            return error(message, kind=kind, hint=hint)
    return UsageError(message, kind="git-refused")


def damaged(message: str) -> BackendError:
    """Return the error for an object that Git cannot read."""
    return BackendError(message, kind="git-failed", hint=_DAMAGE)


def unknown_revision(revision: str) -> NotFoundError:
    """Return the error for a revision that names nothing."""
    return NotFoundError(f"no revision is called {revision!r}", kind="revision-unknown", hint=_NAMES)


def not_started(exc: OSError, directory: Path) -> LamellaError:
    """Return the error for a git that could not be started in `directory`."""
    if isinstance(exc, FileNotFoundError | NotADirectoryError) and not directory.is_dir():
        return NotFoundError(f"{directory} is not a directory", kind="path-unknown")
    if exc.errno == errno.E2BIG:
        hint = "name a folder or a pattern in place of its files"
        return UsageError("more is named than one command can take", kind="bad-argument", hint=hint)
    return _no_git((exc.strerror or str(exc)).lower())


def _no_git(reason: str) -> BackendError:
    return BackendError(f"cannot run git: {reason}", kind="git-missing", hint="install Git and put it on the PATH")
