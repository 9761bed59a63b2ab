"""Records of merges in Git: written beside what is merged, named in the commit's message, and found again there."""

from __future__ import annotations

import os
from dataclasses import dataclass

from lamella.core import fsio
from lamella.core.errors import FormatError, NotFoundError
from lamella.core.limits import MAX_MERGE_NBYTES
from lamella.repo.checkout import split_path
from lamella.repo.git import Git, GitOid
from lamella.repo.manifest import naming
from lamella.repo.merge_record import (
    FOLDER,
    RECORD_TRAILER,
    STRATEGY_TRAILER,
    MergeRecord,
    parse_record,
    record_path,
    record_text,
)
from lamella.repo.objects import IndexEntry, ObjectReader, write_blob
from lamella.repo.repository import Repository
from lamella.repo.worktree import PLAIN, put_entries

PLAIN_TRAILERS = (
    *("-c", "trailer.separators=:", "-c", "trailer.where=end"),
    *("-c", "trailer.ifexists=addIfDifferent", "-c", "trailer.ifmissing=add"),
)
"""Options of Git under which our trailers stand behind all others, however the user likes trailers to be."""


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record in a commit, and the path that it has there."""

    path: str
    record: MergeRecord


def record_merge(repository: Repository, record: MergeRecord) -> tuple[str, ...]:
    """Put the record of a merge that is under way into worktree and index, and return the trailers of its commit."""
    text = record_text(record)
    path = record_path(text)
    folders, name = split_path(path)
    os.close(fsio.open_directory_beneath(repository.worktree, folders, create=True))
    fsio.write_file(repository.worktree.joinpath(*folders) / name, text)
    put_entries(repository, [IndexEntry(path, PLAIN, write_blob(repository.git, text), 0)])
    return trailers(record, path)


def withdraw_record(repository: Repository, record: MergeRecord) -> None:
    """Take back what `record_merge` did: the merge is not committed yet."""
    path = record_path(record_text(record))
    repository.git.run("rm", "--quiet", "--force", "--", path, env={"GIT_LITERAL_PATHSPECS": "1"})


def trailers(record: MergeRecord, path: str) -> tuple[str, ...]:
    """Return what the message of a merge commit says of its record, a line each."""
    strategy = (f"{STRATEGY_TRAILER}: {record.strategy}",) if record.paths else ()
    return (f"{RECORD_TRAILER}: {path}", *strategy)


def with_trailers(git: Git, message: bytes, lines: tuple[str, ...]) -> bytes:
    """Return a message with trailers at its end."""
    options = [f"--trailer={line}" for line in lines]
    return git.run(*PLAIN_TRAILERS, "interpret-trailers", *options, input=message)


def find_record(git: Git, reader: ObjectReader, commit: GitOid) -> FoundRecord | None:
    """Return the record that the message of a commit names, None where it names none.

    Raises NotFoundError (path-unknown) where the commit has no such file, and FormatError as `parse_record` does, also
    (merge-record-malformed) where it is not what it was when it was named.
    """
    wanted = f"--format=%(trailers:key={RECORD_TRAILER},valueonly)"
    shown = git.run(*PLAIN_TRAILERS, "log", "-1", "--no-show-signature", wanted, commit)
    path = next((os.fsdecode(line) for line in reversed(shown.splitlines()) if line), None)
    if path is None or not path.startswith(f"{FOLDER}/"):
        return None
    found = reader.read(f"{commit}:{path}")
    if found is None or found.type != "blob":
        hint = "the merge can be made again from its parents"
        raise NotFoundError(f"{commit[:10]} names {path}, and has no such file", kind="path-unknown", hint=hint)
    with naming(path):
        if found.data is None or found.nbytes > MAX_MERGE_NBYTES:
            raise FormatError("it is too large for the record of a merge", kind="merge-record-malformed")
        record = parse_record(found.data)
        if record_path(found.data) != path:
            hint = "its name is the digest of its text; take the file as it was written"
            raise FormatError("it was edited after the merge", kind="merge-record-malformed", hint=hint)
    return FoundRecord(path, record)
