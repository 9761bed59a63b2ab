"""What takes part in a merge: the commits that none of the others contains, and the one that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lamella.core.errors import UsageError
from lamella.core.limits import MAX_MERGE_SIDES
from lamella.repo.branches import commit_named, head_commit
from lamella.repo.git import Git, GitOid


@dataclass(frozen=True, slots=True)
class MergeSides:
    """The commits that are merged, HEAD first if it is one, what each was called, and the commit that they come from.

    `contained` are names of commits that others contain, which adds nothing. `base` is None where histories have
    nothing in common.
    """

    head: GitOid
    commits: tuple[GitOid, ...]
    names: tuple[str, ...]
    contained: tuple[str, ...]
    base: GitOid | None

    def weights(self, given: Sequence[float]) -> tuple[float, ...]:
        """Return the weights that were given, one for each side; raise UsageError (bad-argument) for other numbers."""
        if given and len(given) != len(self.commits):
            said = f"there are {len(given)} weights for {len(self.commits)} sides: {', '.join(self.names)}"
            are = "is" if len(self.contained) == 1 else "are"
            without = f"; {', '.join(self.contained)} {are} contained in another" if self.contained else ""
            raise UsageError(said + without, kind="bad-argument", hint="give one for each of them, in this order")
        return tuple(given)


def find_sides(git: Git, revisions: Sequence[str], *, unrelated: bool = False) -> MergeSides:
    """Return what a merge of `revisions` into HEAD merges, as Git's octopus does: HEAD is no side where all contain it.

    Raises NotFoundError (revision-unknown), and UsageError: bad-argument for too many, git-refused for histories with
    nothing in common that are not allowed to be `unrelated`, and for sides that come from several commits.
    """
    return sides_of(git, head_commit(git), "HEAD", revisions, unrelated=unrelated)


def sides_of(git: Git, head: GitOid, name: str, revisions: Sequence[str], *, unrelated: bool) -> MergeSides:
    """Return what a merge of `revisions` into the commit `head`, called `name`, merges; raise as `find_sides` does."""
    if len(revisions) >= MAX_MERGE_SIDES:
        hint = "merge them in groups, each with its sum of weights"
        raise UsageError(f"more than {MAX_MERGE_SIDES} sides are not merged", kind="bad-argument", hint=hint)
    found = [(commit_named(git, revision), revision) for revision in revisions]
    named = {head: name}
    for commit, revision in found:
        named.setdefault(commit, revision)
    listed = git.run("merge-base", "--independent", *named).decode().split()
    commits = tuple(commit for commit in named if commit in listed)
    contained = tuple(revision for commit, revision in found if commit not in listed)
    base = common_base(git, commits) if len(commits) > 1 else None
    if len(commits) > 1 and base is None and not unrelated:
        raise UsageError(
            f"the histories of {' and '.join(named[commit] for commit in commits)} have nothing in common",
            kind="git-refused",
            hint="`--allow-unrelated-histories` merges them all the same, with a strategy that needs no base",
        )
    return MergeSides(head, commits, tuple(named[commit] for commit in commits), contained, base)


def common_base(git: Git, commits: Sequence[GitOid]) -> GitOid | None:
    """Return the newest commit that all of `commits` come from, None where there is none."""
    found = git.run("merge-base", "--octopus", *commits, check=False).decode().split()
    return GitOid(found[0]) if found else None
