"""Making a merge again, from its record or from its parents, to see whether the same bits come of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lamella.core.errors import ConflictError, FormatError, NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.model.merging.rules import Rules
from lamella.ops.merge_file import empty_base
from lamella.ops.merge_models import merge_in_store
from lamella.ops.merge_trees import is_merged, model_of
from lamella.repo.branches import commit_named
from lamella.repo.git import Git, GitOid
from lamella.repo.gitfaults import damaged
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.manifest import Manifest, write_manifest
from lamella.repo.merge_record import MergedPath, describe_rules
from lamella.repo.merge_recording import FoundRecord, find_record
from lamella.repo.merge_sides import common_base
from lamella.repo.objects import ObjectReader
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.settings import merge_settings_at
from lamella.repo.sided_files import SidedFile, follow_renames, list_sided, models_among
from lamella.repo.vocabularies import versions, vocabularies_at

REST = "the file beside its tensors"
"""What differs where all tensors are the same and the manifests are not."""


@dataclass(frozen=True, slots=True)
class ReplayedFile:
    """A model file of a merge, made again: the blob in the commit, and the one that came of it now.

    `differing` are the tensors that are not the same. `reason` says why nothing could be made, and `made` is None then,
    as it is for a file that is gone.
    """

    path: str
    strategy: str
    committed: GitOid | None
    made: GitOid | None
    differing: tuple[str, ...] = ()
    reason: str = ""

    @property
    def same(self) -> bool:
        """Whether all bits are the same."""
        return not self.reason and self.committed == self.made


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A merge made again: its commit, parents and base, the path of its record if it has one, and its model files."""

    commit: GitOid
    parents: tuple[GitOid, ...]
    base: GitOid | None
    record: str | None
    files: tuple[ReplayedFile, ...]

    @property
    def same(self) -> bool:
        """Whether all bits of all model files are the same."""
        return all(file.same for file in self.files)


def merge_replay(repository: Repository, revision: str, progress: Progress = SILENT) -> ReplayReport:
    """Make the merge `revision` again and hold what comes of it against what it has; no reference or file is touched.

    Raises UsageError (bad-argument) for a commit that is no merge, or that has no record and several bases;
    NotFoundError: revision-unknown where a parent is not in this clone, path-unknown where its record is gone,
    object-missing where weights are; and FormatError for a record that was edited, or is of a later version.
    """
    git = repository.git
    commit = commit_named(git, revision)
    with repository.reader() as reader, ObjectWriter(git, keeping=False) as writer:
        parents = _parents(reader, commit, revision)
        found = find_record(git, reader, commit)
        if found is not None and found.record.sides != parents:
            raise _altered(f"{found.path} is the record of a merge of other commits")
        base = _base(git, parents) if found is None else found.record.base
        tree = writer.name("tree", b"") if base is None else git.resolve(f"{base}^{{tree}}")
        trees = [git.resolve(f"{parent}^{{tree}}") for parent in parents]
        models = models_among(reader, follow_renames(git, tree, trees, list_sided(git, tree, trees)))
        repository.existing_store()  # which is not made for this
        again = _Again(repository, reader, writer, commit, (base, *parents), progress)
        recorded = {} if found is None else _recorded(found, models)
        rules = merge_settings_at(reader, parents[0])
        files = [again.made(file, recorded, rules) for file in models]
    return ReplayReport(commit, parents, base, None if found is None else found.path, tuple(files))


def _parents(reader: ObjectReader, commit: GitOid, revision: str) -> tuple[GitOid, ...]:
    """Return the parents that the commit names, of which a shallow clone may lack some."""
    found = reader.read(commit)
    if found is None or found.data is None:
        raise damaged(f"object {commit} is missing")
    head = found.data.partition(b"\n\n")[0].split(b"\n")
    parents = tuple(GitOid(line.split(b" ")[1].decode()) for line in head if line.startswith(b"parent "))
    if len(parents) < 2:
        hint = "`git log --merges` lists the merges"
        raise UsageError(f"{revision} is no merge, so there is nothing to replay", kind="bad-argument", hint=hint)
    for parent in parents:
        there = reader.read(parent)
        if there is None or there.type != "commit":
            said = f"the parent {parent[:10]} of {revision} is not in this clone"
            raise NotFoundError(said, kind="revision-unknown", hint="`git fetch --unshallow` gets the history")
    return parents


def _base(git: Git, parents: Sequence[GitOid]) -> GitOid | None:
    found = git.run("merge-base", "--all", *parents, check=False).decode().split()
    if len(parents) == 2 and len(found) > 1:
        raise UsageError(
            f"the parents come from {len(found)} commits, and the merge has no record",
            kind="bad-argument",
            hint="`lamella merge` writes one, from which such a merge can be made again",
        )
    return common_base(git, parents)


def _recorded(found: FoundRecord, models: Sequence[SidedFile]) -> Mapping[bytes, MergedPath]:
    """Return the files of a record by path, held against what the parents have."""
    by_path = {file.path: file for file in models}
    recorded = {os.fsencode(one.path): one for one in found.record.paths}
    for path, one in recorded.items():
        file = by_path.get(path)
        blobs = None if file is None else tuple(None if side is None else side[1] for side in file.sides)
        if blobs != one.sides:
            raise _altered(f"{found.path} has other blobs of {one.path} than the parents")
    return recorded


def _altered(message: str) -> FormatError:
    hint = "the commit was rewritten, or the record edited; merge anew to have one"
    return FormatError(message, kind="merge-record-malformed", hint=hint)


@dataclass(frozen=True, slots=True)
class _Again:
    """Makes the files of one merge again; `commits` are those of base and sides."""

    repository: Repository
    reader: ObjectReader
    writer: ObjectWriter
    commit: GitOid
    commits: tuple[GitOid | None, ...]
    progress: Progress

    def made(self, file: SidedFile, recorded: Mapping[bytes, MergedPath], rules: Rules) -> ReplayedFile:
        """Return what comes of a file: what all made of it who changed it, or what merging its tensors gives."""
        path = os.fsdecode(file.path)
        there = self.reader.read(f"{self.commit}:{path}", prefix=b"")
        committed = None if there is None else there.oid
        record = recorded.get(file.path)
        if record is None and not is_merged(file, settles=True):
            entry = file.changed[0]
            return ReplayedFile(path, "", committed, None if entry is None else entry[1])
        strategy = describe_rules(rules if record is None else record.rules)
        try:
            manifest = self._merged(file, path, record, rules)
        except ConflictError as exc:
            return ReplayedFile(path, strategy, committed, None, (), exc.message)
        oid = self.writer.name("blob", write_manifest(manifest))
        differing = () if oid == committed else self._differing(path, manifest)
        return ReplayedFile(path, strategy, committed, oid, differing)

    def _merged(self, file: SidedFile, path: str, record: MergedPath | None, rules: Rules) -> Manifest:
        if None in file.changed and record is None:
            raise ConflictError("one side removed or renamed it, and another changed it", kind="merge-conflict")
        look = partial(model_of, self.repository, self.reader, path)
        blob = (None if file.base is None else file.base[1]) if record is None else record.base
        sides = [look(one[1], f"side {number}") for number, one in enumerate(file.sides, 1) if one is not None]
        used = rules if record is None else record.rules
        base = empty_base(path, used) if blob is None else look(blob, "the base")
        blobs = (blob, *(None if one is None else one[1] for one in file.sides))
        tell = partial(vocabularies_at, self.repository.git, path, versions(self.commits, blobs))
        merged = merge_in_store(self.repository, base, sides, used, self.progress, tell)
        assert merged.manifest is not None
        return merged.manifest

    def _differing(self, path: str, made: Manifest) -> tuple[str, ...]:
        kept = manifest_at(self.reader, f"{self.commit}:{path}")
        before = {} if kept is None else {row.spec.name: row for row in kept.tensors}
        after = {row.spec.name: row for row in made.tensors}
        names = tuple(name for name in {**before, **after} if before.get(name) != after.get(name))
        return names or (REST,)
