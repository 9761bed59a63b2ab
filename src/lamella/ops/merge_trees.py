"""Merging whole revisions: models by their tensors, all other files as Git merges them, into one tree."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lamella.core.errors import ConflictError
from lamella.core.progress import SILENT, Progress
from lamella.model.merging.rules import Rules
from lamella.ops.merge_file import empty_base
from lamella.ops.merge_models import MergedModel, merge_in_store
from lamella.repo.file_merge import merge_files
from lamella.repo.git import GitOid
from lamella.repo.gitfaults import damaged
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.joined_model import Model, joined
from lamella.repo.manifest import OPAQUE, PREFIX, is_manifest, naming, parse_manifest, write_manifest
from lamella.repo.merge_record import MergedPath
from lamella.repo.objects import ObjectReader
from lamella.repo.repository import Repository
from lamella.repo.sided_files import Entry, SidedFile, list_sided, models_among
from lamella.repo.stored_model_file import StoredModelFile
from lamella.repo.trees import changed_tree, entries_of, find_folder
from lamella.repo.vocabularies import versions, vocabularies_at

RulesFor = Callable[[Sequence[Model | None]], Rules]
"""Gives the rules of one model file, given what each side has of it; their weights are of the sides that have it."""

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class MergedFile:
    """A model file that was merged: what stands in the record of it, and what became of its tensors."""

    record: MergedPath
    model: MergedModel


@dataclass(frozen=True, slots=True)
class MergedTree:
    """The tree of a merge, durable once its writer is flushed, and the model files that several sides changed."""

    tree: GitOid
    files: tuple[MergedFile, ...]


@dataclass(frozen=True, slots=True)
class Merging:
    """How revisions are merged: the rules of each model file, and whether it is told what the sides come from.

    `names` are what the sides are called, in messages.
    """

    rules_for: RulesFor
    names: tuple[str, ...]
    settles: bool = True
    progress: Progress = SILENT


def merge_trees(
    repository: Repository, writer: ObjectWriter, base: GitOid | None, sides: Sequence[GitOid], merging: Merging
) -> MergedTree:
    """Return the tree that the commits `sides` give, which come from the commit `base`.

    A model file that one side changed, or all alike, is taken as it is; where merging `settles` nothing, one that is on
    all sides is merged all the same. Objects are durable when this returns, the tree when `writer` is flushed. Raises
    ConflictError (merge-conflict), with nothing kept of it in Git, and as `merge_in_store` does.
    """
    git = repository.git
    empty = writer.add("tree", b"")
    trees = [git.resolve(f"{commit}^{{tree}}") for commit in sides]
    start = empty if base is None else git.resolve(f"{base}^{{tree}}")
    if base is None:
        writer.flush()
    with repository.reader() as reader:
        models = models_among(reader, list_sided(git, start, trees))
        without: dict[bytes, Entry | None] = dict.fromkeys(one.path for one in models)
        stripped = [changed_tree(writer, tree, without) or empty for tree in (start, *trees)]
        others = merge_files(git, writer, stripped[0], stripped[1:], merging.names)
        asked = [one for one in models if is_merged(one, settles=merging.settles)]
        _refuse_files(asked)
        files = [_merged(repository, reader, writer, one, merging, (base, *sides)) for one in asked]
    _refuse_conflicts(files)
    changes = {one.path: one.changed[0] for one in models if one.path not in {other.path for other in asked}}
    for one, file in zip(asked, files, strict=True):
        changes[one.path] = one.mode, file.record.result
    _refuse_covered(writer, others, changes)
    return MergedTree(changed_tree(writer, others, changes) or empty, tuple(files))


def is_merged(file: SidedFile, *, settles: bool) -> bool:
    """Say whether the tensors of a file are looked at: it is not one thing that all made of it who changed it."""
    if not settles and None not in file.sides:
        return len(set(file.sides)) > 1
    return len(file.changed) > 1


def _refuse_files(files: Sequence[SidedFile]) -> None:
    """Raise ConflictError for files that are gone, or no files, on a side, while another changed them."""
    gone = [os.fsdecode(one.path) for one in files if None in one.changed]
    if gone:
        hint = "bring it back, remove it, or rename it on the others, too, and merge then"
        raise _conflict(f"one side removed or renamed {_listed(gone)}, and another changed it", hint)
    odd = [os.fsdecode(one.path) for one in files if not one.regular]
    if odd:
        raise _conflict(f"{_listed(odd)} is a file on one side only", "make it one on all of these branches first")


def _merged(
    repository: Repository,
    reader: ObjectReader,
    writer: ObjectWriter,
    file: SidedFile,
    merging: Merging,
    commits: Sequence[GitOid | None],
) -> MergedFile:
    """Merge the tensors of one model file; `commits` are those of base and sides."""
    path = os.fsdecode(file.path)
    look = partial(model_of, repository, reader, path)
    # Without settling, nothing is held against what the sides come from.
    base = look(file.base[1], "the base") if file.base is not None and merging.settles else None
    sides = [None if one is None else look(one[1], name) for one, name in zip(file.sides, merging.names, strict=True)]
    rules = merging.rules_for(sides)
    if base is None and commits[0] is not None:
        base = empty_base(path, rules)  # several sides added the file
    blobs = (None if one is None else one[1] for one in (file.base, *file.sides))
    tell = partial(vocabularies_at, repository.git, path, versions(commits, blobs))
    there = [one for one in sides if one is not None]
    merged = merge_in_store(repository, base, there, rules, merging.progress, tell)
    assert merged.manifest is not None
    return MergedFile(
        MergedPath(
            path,
            None if file.base is None or not merging.settles else file.base[1],
            tuple(None if one is None else one[1] for one in file.sides),
            rules,
            writer.add("blob", write_manifest(merged.manifest)),
            merged.manifest.model_id(),
        ),
        merged,
    )


def model_of(repository: Repository, reader: ObjectReader, path: str, blob: GitOid, label: str) -> Model:
    """Return the model that the manifest `blob` stands for; raise ConflictError (merge-conflict) where it is none."""
    found = reader.read(blob, prefix=PREFIX)
    if found is None:
        raise damaged(f"object {blob} is missing")
    if found.data is None or not is_manifest(found.data):
        hint = "add it with lamella on all of these branches first"
        raise _conflict(f"{path} is kept as a model on one side, and as plain bytes in {label}", hint)
    with naming(f"{label}:{path}"):
        manifest = parse_manifest(found.data)
    if manifest.format == OPAQUE:
        raise _conflict(f"{path} in {label} is of no format whose tensors are known", "take one side of it")
    return joined(f"{label}:{path}", [StoredModelFile(os.path.basename(path), manifest, repository.existing_store)], ())


def _refuse_conflicts(files: Sequence[MergedFile]) -> None:
    found = [
        (file.record.path, name, conflict) for file in files for name, conflict in file.model.conflicts.items()
    ]  # fmt: skip
    if not found:
        return
    path, name, first = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    names = sorted({shown for _, shown, _ in found[:_SHOWN]})
    listed = f"; in conflict: {', '.join(names)}{', ...' if len(found) > _SHOWN else ''}" if len(found) > 1 else ""
    raise _conflict(
        f"{len(found)} {'tensor is' if len(found) == 1 else 'tensors are'} in conflict: {name} of {path}, "
        f"{first.reason}{more}",
        f"decide with `--strategy-for '{name}=ours'` or another strategy{listed}",
    )


def _refuse_covered(writer: ObjectWriter, tree: GitOid, changes: Mapping[bytes, Entry | None]) -> None:
    """Raise ConflictError where a model would take the place of a folder, or lie below a file."""
    paths = {path for path, one in changes.items() if one is not None}
    for path in paths:
        above = [path[:at] for at, byte in enumerate(path) if byte == ord("/")]
        if not paths.isdisjoint(above) or _is_covered(writer, tree, path):
            shown = os.fsdecode(path)
            raise _conflict(f"{shown} is a file on one side, and a folder on another", "rename one of them first")


def _is_covered(writer: ObjectWriter, tree: GitOid, path: bytes) -> bool:
    *folders, name = path.split(b"/")
    for folder in folders:
        below = find_folder(writer, tree, folder)
        if below is None:
            return folder in entries_of(writer, tree)
        tree = below
    return name in entries_of(writer, tree)


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more


def _conflict(message: str, hint: str) -> ConflictError:
    return ConflictError(message, kind="merge-conflict", hint=hint)
