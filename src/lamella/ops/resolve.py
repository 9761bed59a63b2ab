"""`resolve`: tensors in conflict are decided about; a file with none left is merged anew, written and staged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from shlex import quote

from lamella.core.errors import ConflictError, NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.model.merging.rules import FROM_BASE, OURS, THEIRS, Choice
from lamella.ops.conflicts import ConflictedFile, look_at, versions_of
from lamella.ops.diff import identify
from lamella.ops.merge_file import Versions, merge_file
from lamella.ops.merge_rules import check_choice
from lamella.repo.attributes import filtered
from lamella.repo.checkout import restore_file
from lamella.repo.git import GitOid
from lamella.repo.manifest import Manifest, write_manifest
from lamella.repo.merge_state import forget_stale_states, forget_state, write_state
from lamella.repo.objects import IndexEntry, ObjectReader, write_blob
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.unmerged import Unmerged, unmerged
from lamella.repo.worktree import EXECUTABLE, PLAIN, put_entries, record_stat


@dataclass(frozen=True, slots=True)
class ResolvedFile:
    """A file in which something was decided: the tensors, none for the whole file, and how many are still open.

    `staged` says that it is settled, in the worktree and in the index.
    """

    path: str
    tensors: tuple[str, ...]
    open: int
    staged: bool


def resolve(
    repository: Repository,
    patterns: Sequence[str],
    choice: Choice,
    paths: Sequence[str] = (),
    progress: Progress = SILENT,
) -> tuple[ResolvedFile, ...]:
    """Decide about the tensors in conflict that `patterns` name, in the files at `paths`, all model files by default.

    A pattern that is the path of a model file in conflict names all its tensors, and a file that cannot be merged in
    parts as a whole. What was decided before can be decided anew as long as the file is not settled. Raises
    NotFoundError (tensor-unknown, path-unknown) for patterns and paths that name nothing in conflict, UsageError
    (bad-argument) for what a conflict cannot be resolved with, and ConflictError (file-changed) where somebody edited
    the file, whose edits are then left alone.
    """
    resolver = _Resolver(repository, choice, progress)
    with repository.reader() as reader:
        asked = resolver.decided(reader, patterns, paths)
        done = tuple(resolver.settle(reader, *one) for one in asked)
    forget_stale_states(repository.git)
    return done


class _Resolver:
    def __init__(self, repository: Repository, choice: Choice, progress: Progress) -> None:
        self._repository = repository
        self._choice = choice
        self._progress = progress

    def decided(
        self, reader: ObjectReader, patterns: Sequence[str], paths: Sequence[str]
    ) -> list[tuple[Unmerged, ConflictedFile, tuple[str, ...]]]:
        """Return the files in which patterns name something, with the tensors; all is checked before any is changed."""
        git = self._repository.git
        waiting = {one.path: one for one in unmerged(git)}
        models = filtered(git, waiting)
        wanted = {os.path.relpath(git.directory / path, git.root) for path in paths} or set(models)
        unknown = next((path for path in wanted if path not in models), None)
        if unknown is not None:
            hint = "`lamella conflicts` lists those that are"
            raise NotFoundError(f"{unknown} is no model file in conflict", kind="path-unknown", hint=hint)
        files = [look_at(self._repository, reader, waiting[path]) for path in models if path in wanted]
        used: set[str] = set()
        found = []
        for file in files:
            names = self._named(file, patterns, used)
            if names is not None:
                self._check(file, names)
                found.append((waiting[file.path], file, names))
        unused = next((pattern for pattern in patterns if pattern not in used), None)
        if unused is not None:
            raise NotFoundError(
                f"{unused!r} names no tensor in conflict",
                kind="tensor-unknown",
                hint="`lamella conflicts` lists those that are",
            )
        return found

    def _named(self, file: ConflictedFile, patterns: Sequence[str], used: set[str]) -> tuple[str, ...] | None:
        git = self._repository.git
        whole = [pattern for pattern in patterns if os.path.relpath(git.directory / pattern, git.root) == file.path]
        used.update(whole)
        listed = [conflict.name for conflict in file.found.conflicts]
        if whole:
            return tuple(listed)
        named = []
        for name in listed:
            fitting = [pattern for pattern in patterns if pattern == name or fnmatchcase(name, pattern)]
            used.update(fitting)
            if fitting:
                named.append(name)
        return tuple(named) or None

    def _check(self, file: ConflictedFile, names: Sequence[str]) -> None:
        """Raise UsageError (bad-argument) where something named cannot be resolved in this way."""
        choice = self._choice
        check_choice(choice, (), 2, has_base=FROM_BASE in file.sides)
        if file.found.failure is not None and choice.strategy not in file.sides:
            said = f"{file.path} can only be taken whole: {file.found.failure}"
            raise UsageError(said, kind="bad-argument", hint=f"take {' or '.join(f'--{side}' for side in file.sides)}")
        wanted = set(names)
        for conflict in file.found.conflicts:
            if conflict.name in wanted and choice.strategy not in conflict.choices:
                raise UsageError(
                    f"{conflict.name} cannot be resolved by {choice.strategy}: {conflict.reason}",
                    kind="bad-argument",
                    hint=f"it can by {', '.join(conflict.choices)}",
                )

    def settle(self, reader: ObjectReader, one: Unmerged, file: ConflictedFile, names: tuple[str, ...]) -> ResolvedFile:
        """Note what was decided about a file, and merge it anew where that was all."""
        if file.found.failure is not None:
            self._take(reader, one)
            forget_state(self._repository.git, one.path)
            return ResolvedFile(one.path, (), 0, staged=True)
        rules = file.found.rules
        resolutions = {**rules.resolutions, **dict.fromkeys(names, self._choice)}
        state = replace(file.found, rules=replace(rules, resolutions=resolutions))
        write_state(self._repository.git, state)
        versions = versions_of(self._repository.git, reader, one)
        if state.open or isinstance(versions, str):
            return ResolvedFile(one.path, names, len(state.open), staged=False)
        state, merged = merge_file(self._repository, versions, state.rules, self._progress)
        if merged is None or state.conflicts:
            write_state(self._repository.git, replace(state, merged=file.found.merged))
            return ResolvedFile(one.path, names, len(state.open), staged=False)
        made = self._put(one, merged, _known(versions), file.found.merged)
        write_state(self._repository.git, replace(state, merged=made))
        return ResolvedFile(one.path, names, 0, staged=True)

    def _take(self, reader: ObjectReader, one: Unmerged) -> None:
        """Take one side's file as it is, which may be none."""
        entry = {OURS: one.ours, THEIRS: one.theirs, FROM_BASE: one.base}[self._choice.strategy]
        git = self._repository.git
        if entry is None:
            git.run("rm", "--quiet", "--force", "--", one.path, env={"GIT_LITERAL_PATHSPECS": "1"})
            return
        manifest = manifest_at(reader, entry.oid)
        if manifest is not None:
            stages = [stage for stage in (one.base, one.ours, one.theirs) if stage is not None]
            known = [found for stage in stages if (found := manifest_at(reader, stage.oid)) is not None]
            self._put(one, manifest, known)
            return
        put_entries(self._repository, [replace(entry, stage=0)])
        git.run("checkout-index", "--force", "--quiet", "--", one.path)

    def _put(self, one: Unmerged, manifest: Manifest, known: Collection[Manifest], merged: str | None = None) -> GitOid:
        """Write a settled file to worktree, then index, and return its blob; what is cut between is done again."""
        repository = self._repository
        state = self._replaceable(one, [*known, manifest], merged)
        mode = _mode(one)
        written = restore_file(
            repository.store, manifest, repository.worktree, one.path,
            executable=mode == EXECUTABLE, backdated=True, replacing=state, progress=self._progress,
        )  # fmt: skip
        entry = IndexEntry(one.path, mode, write_blob(repository.git, write_manifest(manifest)), 0)
        put_entries(repository, [entry])
        record_stat(repository, [(entry, written)])
        return entry.oid

    def _replaceable(self, one: Unmerged, known: Collection[Manifest], merged: str | None) -> os.stat_result | None:
        """Return the state of the file in the worktree, None where there is none.

        Raises ConflictError (file-changed) where it is neither one of the versions nor what merging them made.
        """
        git, path = self._repository.git, one.path
        try:
            found = identify(self._repository, path, self._progress)
        except ConflictError:  # the markers of a merge that was made without us
            return (self._repository.worktree / path).lstat()
        if found is None:
            return None
        text = write_manifest(found.manifest)
        blob = hashlib.new(git.hash_name, b"blob %d\0" % len(text) + text, usedforsecurity=False)
        if found.manifest in known or blob.hexdigest() == merged:
            return found.state
        if git.run("hash-object", "--no-filters", "--", path).decode().strip() in one.blobs:
            return found.state  # a version that is in Git whole
        raise ConflictError(
            f"{path} was edited since it was merged",
            kind="file-changed",
            hint=f"`lamella add` takes it as it is; `git checkout --ours -- {quote(path)}` drops what was edited",
        )


def _known(versions: Versions) -> list[Manifest]:
    return [one for one in (versions.base, versions.ours, versions.theirs) if one is not None]


def _mode(one: Unmerged) -> int:
    """Return the mode that a file gets: that of the side that changed it."""
    base, ours, theirs = (entry.mode if entry else None for entry in (one.base, one.ours, one.theirs))
    chosen = theirs if ours in (base, None) and theirs is not None else ours
    return chosen or base or PLAIN
