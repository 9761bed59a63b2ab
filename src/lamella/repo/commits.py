"""Who made which commits, when and why, as Git tells it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lamella.repo.git import Git, GitOid

_FORMAT = "%H%x00%an%x00%ae%x00%aI%x00%s%x00"
_FIELDS = _FORMAT.count("%x00")


@dataclass(frozen=True, slots=True)
class CommitSummary:
    """A commit by its id; `date` is the author's, ISO 8601 with its zone, `subject` the first line of the message."""

    commit: GitOid
    author: str
    email: str
    date: str
    subject: str


def summaries(git: Git, commits: Iterable[GitOid]) -> Mapping[GitOid, CommitSummary]:
    """Return what there is to say of each of `commits`."""
    asked = "".join(f"{commit}\n" for commit in dict.fromkeys(commits))
    if not asked:
        return {}
    options = ("--no-walk=unsorted", "--no-show-signature", "--encoding=UTF-8", "-z", f"--format={_FORMAT}", "--stdin")
    fields = [os.fsdecode(field).lstrip("\n") for field in git.run("log", *options, input=asked.encode()).split(b"\0")]
    rows = (fields[at : at + _FIELDS] for at in range(0, len(fields) - _FIELDS + 1, _FIELDS + 1))
    return {GitOid(row[0]): CommitSummary(GitOid(row[0]), *row[1:]) for row in rows}
