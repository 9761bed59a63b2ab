"""Rewriting a history: commits and tags with other trees below them, and every other byte as it was."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lamella.repo.git import Git, GitOid
from lamella.repo.gitfaults import damaged
from lamella.repo.gitpack import ObjectWriter

_SIGNATURES = (b"gpgsig", b"gpgsig-sha256", b"mergetag")
"""Headers that vouch for ids which the new commit does not have."""

_SIGNED = re.compile(rb"^-----BEGIN (PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----\r?$", re.MULTILINE)
_OURS = "refs/lamella/"


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference that is no symbolic one, the object that it names, and that object's type."""

    name: str
    oid: GitOid
    type: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: its tree, its parents, and all of its bytes."""

    oid: GitOid
    tree: GitOid
    parents: tuple[GitOid, ...]
    data: bytes


@dataclass(slots=True)
class Rewritten:
    """What became of a history: each old commit with its new one, the same where nothing changed.

    `unsigned_commits` and `unsigned_tags` lost the signature that could not hold for what they are now.
    """

    commits: dict[GitOid, GitOid] = field(default_factory=dict)
    unsigned_commits: int = 0
    unsigned_tags: list[str] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """How many commits are others than before."""
        return sum(old != new for old, new in self.commits.items())


def list_refs(git: Git, *prefixes: str) -> list[Ref]:
    """Return the references at and below `prefixes`, all without any, in the order of their names."""
    listing = git.run("for-each-ref", "--format=%(objectname) %(objecttype) %(symref)%00%(refname)", *prefixes)
    found = []
    for row in listing.splitlines():
        what, _, name = row.partition(b"\0")
        oid, kind, symbolic = what.decode("utf-8", "replace").split(" ", 2)
        if not symbolic:
            found.append(Ref(os.fsdecode(name), GitOid(oid), kind))
    return found


def is_ours(ref: Ref) -> bool:
    """Say whether a reference is one that Lamella keeps for itself."""
    return ref.name.startswith(_OURS)


def list_commits(git: Git, tips: Sequence[GitOid]) -> Iterator[GitOid]:
    """Yield every commit that `tips` reach, parents before children."""
    walk = ("--no-replace-objects", "rev-list", "--topo-order", "--reverse", "--stdin")
    with git.start(*walk, stdin="pipe") as walking:
        walking.stdin.writelines(tip.encode() + b"\n" for tip in tips)
        walking.stdin.close()
        for line in walking.stdout:
            yield GitOid(line.decode().strip())


def read_commit(writer: ObjectWriter, oid: GitOid) -> Commit:
    """Return a commit; raise BackendError (git-failed) where there is none."""
    kind, data = writer.read(oid)
    rows = data.partition(b"\n\n")[0].split(b"\n")
    if kind != "commit" or not rows[0].startswith(b"tree "):
        raise damaged(f"object {oid} is no commit")
    parents = []
    for row in rows[1:]:
        if not row.startswith(b"parent "):
            break
        parents.append(GitOid(row[7:].decode("ascii", "replace")))
    return Commit(oid, GitOid(rows[0][5:].decode("ascii", "replace")), tuple(parents), data)


def rewrite_commits(
    writer: ObjectWriter, commits: Iterator[GitOid], new_tree: Callable[[Commit, Sequence[GitOid]], GitOid]
) -> Rewritten:
    """Make each commit anew with the tree that `new_tree` gives for it, which is told the new commits of its parents.

    A commit with the same tree and the same parents stays itself, signature and all. Of the others everything is kept
    but what vouches for the old ids: author, committer, dates, encoding, unknown headers, and the message's bytes.
    """
    result = Rewritten()
    for oid in commits:
        commit = read_commit(writer, oid)
        parents = tuple(result.commits.get(parent, parent) for parent in commit.parents)
        tree = new_tree(commit, parents)
        if (tree, parents) == (commit.tree, commit.parents):
            result.commits[oid] = oid
            continue
        data, signed = _made_anew(commit, tree, parents)
        result.unsigned_commits += signed
        result.commits[oid] = writer.add("commit", data)
    return result


def _made_anew(commit: Commit, tree: GitOid, parents: Sequence[GitOid]) -> tuple[bytes, bool]:
    """Return the bytes of a commit with another tree and other parents, and whether it was signed."""
    head, gap, message = commit.data.partition(b"\n\n")
    rows = [b"tree " + tree.encode(), *(b"parent " + parent.encode() for parent in parents)]
    signed = dropping = False
    for row in head.split(b"\n")[1 + len(commit.parents) :]:
        if not row.startswith(b" "):  # else it goes on with the header above it
            key = row.partition(b" ")[0]
            dropping = key in _SIGNATURES
            signed |= dropping and key != b"mergetag"
        if not dropping:
            rows.append(row)
    return b"\n".join(rows) + gap + message, signed


def rewrite_target(writer: ObjectWriter, ref: Ref, result: Rewritten) -> GitOid:
    """Return what a reference stands for after the rewriting: a commit, or a tag of one, or what it was.

    An annotated tag is made again without its signature, and tags of tags from the inside out. Its name in
    `unsigned_tags` says that it had one.
    """
    if ref.type != "tag":
        return result.commits.get(ref.oid, ref.oid)
    return _tag(writer, ref.oid, ref.name, result)


def _tag(writer: ObjectWriter, oid: GitOid, name: str, result: Rewritten) -> GitOid:
    kind, data = writer.read(oid)
    if kind != "tag":
        return result.commits.get(oid, oid)
    first, _, rest = data.partition(b"\n")
    inner = GitOid(first.removeprefix(b"object ").decode("ascii", "replace"))
    target = _tag(writer, inner, name, result) if rest.startswith((b"type commit\n", b"type tag\n")) else inner
    if target == inner:
        return oid
    signature = _SIGNED.search(rest, rest.find(b"\n\n"))
    if signature:
        result.unsigned_tags.append(name)
        rest = rest[: signature.start()]
    return writer.add("tag", b"object " + target.encode() + b"\n" + rest)
