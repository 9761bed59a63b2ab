"""The exception tree: one class for each thing a caller can do about a fault.

::

    LamellaError
    ├── UsageError      (also a ValueError)   the caller asked for something impossible
    ├── NotFoundError   (also a LookupError)  an object, revision, path or tensor does not exist
    ├── ConflictError                         two writers, or two edits, disagree
    ├── IntegrityError                        stored bytes are not what was stored
    ├── FormatError     (also a ValueError)   a file is not what its format says
    └── BackendError    (also an OSError)     a disk, a process or a network failed us

Classes are caught, kinds are matched, messages are read. A kind is kebab-case and append-only; `KINDS` lists
every one with the class that carries it, and a test holds the list equal to the code.
"""

from __future__ import annotations

from typing import ClassVar


class LamellaError(Exception):
    """Base of everything Lamella raises on purpose.

    `message` is one lower-case sentence without a final period, `kind` names the precise fault and never changes its
    meaning, `hint` says what to do next, and `exit_code` is what the command line returns.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, kind: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(LamellaError, ValueError):
    """The caller asked for something impossible: change the request."""

    exit_code = 2


class NotFoundError(LamellaError, LookupError):
    """Something named does not exist: fetch it or name something else."""

    exit_code = 3


class ConflictError(LamellaError):
    """Two writers or two edits disagree: resolve, or try again."""

    exit_code = 4


class IntegrityError(LamellaError):
    """Stored bytes are not what was stored: repair from another copy."""

    exit_code = 5


class FormatError(LamellaError, ValueError):
    """A file is not what its format says: fix or replace the file."""

    exit_code = 6


class BackendError(LamellaError, OSError):
    """A disk, a process or a network failed: make it work, then run the command again."""

    exit_code = 7


KINDS: dict[str, type[LamellaError]] = {}
"""Every kind with its class; filled below, in the order in which kinds were introduced."""


def _declare(error: type[LamellaError], *kinds: str) -> None:
    for kind in kinds:
        KINDS[kind] = error


_declare(
    UsageError,
    "bad-argument",
    "not-a-repository",
    "path-outside-worktree",
    "path-unsafe",
    "git-refused",
    "dtype-unsupported",
    "not-set-up",
    "framework-missing",
    "ends-agree",
    "undecided",
    "no-merge",
)
_declare(
    NotFoundError, "object-missing", "revision-unknown", "path-unknown", "tensor-unknown", "pack-missing", "bisect-none"
)
_declare(
    ConflictError,
    "file-changed",
    "lock-held",
    "manifest-conflict",
    "manifest-mixed",
    "version-staged",
    "merge-conflict",
    "local-changes",
    "evaluation-failed",
    "bisect-unfinished",
    "merge-open",
)
_declare(
    IntegrityError,
    "object-damaged",
    "object-wrong-id",
    "chunk-damaged",
    "payload-malformed",
    "base-mismatch",
    "chain-too-deep",
    "pack-damaged",
    "store-damaged",
)
_declare(
    FormatError,
    "header-malformed",
    "header-too-large",
    "header-too-deep",
    "span-out-of-file",
    "span-overlap",
    "name-duplicate",
    "dtype-unknown",
    "too-many-tensors",
    "file-truncated",
    "skeleton-malformed",
    "skeleton-too-large",
    "manifest-malformed",
    "manifest-version",
    "pack-version",
    "index-format",
    "protocol",
    "settings-malformed",
    "graph-malformed",
    "graph-version",
    "rows-malformed",
    "rules-malformed",
    "merge-record-malformed",
    "merge-record-version",
    "picking-malformed",
)
_declare(
    BackendError,
    "no-space",
    "read-only",
    "io-failed",
    "git-missing",
    "git-failed",
    "native-broken",
    "unreadable",
    "links-unsupported",
    "command-failed",
    "metric-missing",
)
