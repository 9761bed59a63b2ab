"""Between which versions a first bad one is searched, and which of those that are between may be it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence

from lamella.core.errors import NotFoundError, UsageError
from lamella.repo.git import Git, GitOid
from lamella.repo.manifest import PREFIX
from lamella.repo.objects import TreeEntry, list_tree
from lamella.repo.repository import Repository

_LITERALLY = {"GIT_LITERAL_PATHSPECS": "1"}


def resolve_ends(git: Git, good: str, bad: str) -> tuple[GitOid, GitOid]:
    """Return the commits that `good` and `bad` name.

    Raises NotFoundError (revision-unknown), and UsageError (bad-argument) where the bad does not come from the good.
    """
    first, last = (git.resolve(f"{git.resolve(revision)}^{{commit}}") for revision in (good, bad))
    base = git.run("merge-base", first, last, check=False).decode().strip()
    if base == first != last:
        return first, last
    if first == last:
        said, hint = f"{good} and {bad} are one version", "name a good version that is older"
    elif base == last:
        said, hint = f"the good version {good} is newer than the bad one {bad}", "give them the other way round"
    else:
        hint = f"both come from {base[:10]}: see whether that is good, and name it" if base else "they are unrelated"
        said = f"the good version {good} is not among those that {bad} comes from"
    raise UsageError(said, kind="bad-argument", hint=hint)


def resolve_paths(repository: Repository, ends: Sequence[GitOid], paths: Sequence[str]) -> tuple[str, ...]:
    """Return `paths`, seen from where the user stands, from the root; without any, those of all models of both ends.

    Raises NotFoundError (path-unknown) where no end has a file there, or no model.
    """
    git = repository.git
    named = [os.path.normpath(os.path.relpath(git.directory / path, git.root)) for path in paths]
    for path, given in zip(named, paths, strict=True):
        if path == ".." or path.startswith("../"):
            hint = "name a path inside of the repository"
            raise UsageError(f"{given} is outside of the repository", kind="path-outside-worktree", hint=hint)
        if path != "." and not any(list_tree(git, end, path) for end in ends):
            raise NotFoundError(f"neither version has {given}", kind="path-unknown", hint="check the spelling")
    if named and "." not in named:
        return tuple(named)
    found = {path: None for end in reversed(ends) for path in model_paths(repository, end, ())}
    if not found:
        hint = "`lamella ls-files` lists the model files; other files have to be named"
        raise NotFoundError("neither version has a model file", kind="path-unknown", hint=hint)
    return tuple(found)


def model_paths(repository: Repository, revision: str, paths: Sequence[str]) -> list[str]:
    """Return the model files of a version at and below `paths`, in that order; those of all where none are given.

    Where files are named and none of them is a model, they are taken as they are.
    """
    entries = {path: [one for one in list_tree(repository.git, revision, path) if _is_file(one)] for path in paths}
    listed = [one for group in entries.values() for one in group]
    if not paths:
        listed = [one for one in list_tree(repository.git, revision) if _is_file(one)]
    with repository.reader() as reader:
        found = list(reader.read_each([one.oid for one in listed], prefix=PREFIX))
    models = [one.path for one, blob in zip(listed, found, strict=True) if blob is not None and blob.matches]
    return models or [one.path for one in listed if one.path in paths]


def only_model(repository: Repository, revision: str) -> str:
    """Return the one model of a version as ``REV:PATH``.

    Raises NotFoundError (revision-unknown, path-unknown), and UsageError (bad-argument) where there are several.
    """
    found = model_paths(repository, repository.git.resolve(revision), ())
    if not found:
        hint = "`lamella ls-files` lists the model files"
        raise NotFoundError(f"{revision} has no model file", kind="path-unknown", hint=hint)
    if len(found) > 1:
        said = f"{revision} has {len(found)} model files"
        raise UsageError(said, kind="bad-argument", hint=f"name one of them, as in `{revision}:{found[0]}`")
    return f"{revision}:{found[0]}"


def _is_file(entry: TreeEntry) -> bool:
    return stat.S_ISREG(entry.mode)


def list_suspects(git: Git, good: GitOid, bad: GitOid, paths: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return the versions from `good`, exclusive, to `bad` that changed `paths`, children first, with their parents.

    Raises UsageError (ends-agree) where there are none.
    """
    listing = git.run("rev-list", "--topo-order", "--parents", bad, f"^{good}", "--", *paths, env=_LITERALLY)
    rows = [line.split(" ") for line in listing.decode().splitlines()]
    if not rows:
        said = f"no version between {good[:10]} and {bad[:10]} changed {', '.join(paths[:3])}"
        hint = "name other paths, or an older good version"
        raise UsageError(said, kind="ends-agree", hint=hint)
    return {commit: parents for commit, *parents in rows}
