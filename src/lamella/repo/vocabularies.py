"""The vocabularies of a merge: those beside a model file in the commits that are merged."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lamella.core.limits import MAX_VOCABULARY_NBYTES
from lamella.model.merging.plan import BASE
from lamella.model.merging.vocabularies import Vocabularies
from lamella.repo.git import Git
from lamella.repo.merge_sides import common_base
from lamella.repo.objects import ObjectReader, list_tree
from lamella.repo.vocabulary import FILES, vocabulary_at


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model file: its blob, and the commit that has it; `commit` is None where that is not known."""

    commit: str | None
    blob: str | None


def versions(commits: Sequence[str | None], blobs: Iterable[str | None]) -> list[Version]:
    """Return the versions of a file, given the commits of base and sides, and its blobs in them; no side without it."""
    base, *sides = map(Version, commits, blobs)
    return [base, *(one for one in sides if one.blob is not None)]


def vocabularies_at(git: Git, path: str, versions: Sequence[Version]) -> Vocabularies:
    """Return the tokens of the model at `path` in base and sides, by their numbers; the base is the first version.

    Nothing is known where a commit has another file there than the one that is merged, as when a model was renamed, or
    when Git merges several bases into one first. Nothing has to be where all versions have one tokenizer: no file is
    read then. Raises FormatError (header-malformed, header-too-large) as `read_vocabulary` does.
    """
    folder = posixpath.dirname(path)
    names = [posixpath.join(folder, name) for name in FILES]
    tokenizers = set()
    for version in versions:
        if version.commit is None:
            return {}
        there = {one.path: one.oid for one in list_tree(git, version.commit, path, *names, recursive=False)}
        if version.blob is None or there.get(path) != version.blob:
            return {}
        tokenizers.add(tuple(map(there.get, names)))
    if len(tokenizers) == 1:
        return {}
    with ObjectReader(git, limit_nbytes=MAX_VOCABULARY_NBYTES) as reader:
        found = [vocabulary_at(reader, version.commit or "", path) for version in versions]
    return dict(enumerate(found, BASE))


def vocabularies_of_merge(git: Git, theirs: str, path: str, blobs: Sequence[str | None]) -> Vocabularies:
    """Return the tokens of base, ours and theirs while Git merges `theirs` into HEAD; raise as `vocabularies_at`."""
    ours, other = git.resolve("HEAD"), git.resolve(theirs)
    return vocabularies_at(git, path, versions((common_base(git, (ours, other)), ours, other), blobs))
