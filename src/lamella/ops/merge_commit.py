"""The commit that ends a merge, with the record of how its model files came about."""

from __future__ import annotations

from lamella.core.fsio import translated
from lamella.core.progress import SILENT, Progress
from lamella.ops.merge_evidence import MergeEvidence, find_evidence
from lamella.repo.evaluation_settings import EvaluationSettings, forget_asked
from lamella.repo.git import GitOid
from lamella.repo.gitfaults import failure
from lamella.repo.manifest import PREFIX
from lamella.repo.merge_record import MergedPath, MergeRecord
from lamella.repo.merge_recording import PLAIN_TRAILERS, record_merge, withdraw_record
from lamella.repo.merge_sides import common_base
from lamella.repo.merge_state import FileMerge, states
from lamella.repo.objects import ObjectReader, list_tree, tracked
from lamella.repo.repository import Repository, manifest_at

_HINT = "the merge is still under way: `lamella merge --continue` tries again, `lamella merge --abort` takes it back"


def commit_merge(
    repository: Repository, settings: EvaluationSettings | None = None, progress: Progress = SILENT
) -> MergeEvidence:
    """Commit the merge that is under way, everything in it being settled, with the message that Git has for it.

    It is looked at before that, and evaluated where there are settings. Raises what `failure` makes of a refusal, as
    that of a hook, and ConflictError (evaluation-failed); the merge is then still under way.
    """
    record = _record(repository)
    evidence = find_evidence(repository, record, settings, progress)
    record = None if record is None else evidence.recorded(record)
    told = () if record is None else record_merge(repository, record)
    kept = () if _names_conflicts(repository) else ("--no-edit",)
    arguments = ("commit", "--quiet", *kept, *(f"--trailer={line}" for line in told))
    ended = repository.git.attempt(*PLAIN_TRAILERS, *arguments)
    if ended.returncode:
        if record is not None:
            withdraw_record(repository, record)
        error = failure(arguments, ended.returncode, ended.stderr or ended.stdout)
        raise type(error)(error.message, kind=error.kind, hint=error.hint or _HINT)
    forget_asked(repository.git)
    return evidence


def _names_conflicts(repository: Repository) -> bool:
    """Say whether Git left comments in the message, which it takes out only of one that is edited, be it by nobody."""
    message = repository.git.git_dir / "MERGE_MSG"
    with translated(message, reading=True):
        return message.is_file() and b"\n# Conflicts:\n" in message.read_bytes()


def _record(repository: Repository) -> MergeRecord | None:
    """Return the record of what was found in model files, None where none was merged by its tensors."""
    git = repository.git
    sides = git.resolve("HEAD"), git.resolve("MERGE_HEAD")
    with repository.reader() as reader:
        merged = (_merged(repository, reader, sides, state) for state in states(git))
        paths = tuple(one for one in merged if one is not None)
    return MergeRecord(common_base(git, sides), sides, paths) if paths else None


def _merged(
    repository: Repository, reader: ObjectReader, commits: tuple[GitOid, GitOid], state: FileMerge
) -> MergedPath | None:
    """Return what the record says of a file, None where it is no model any more, or was kept of another merge.

    None as well where the file is not what the rules make: where it was taken whole, or somebody edited it. And where a
    side has it in Git whole: what its blob stood for in the merge follows from no blob.
    """
    if state.open or state.failure is not None:
        return None
    base, *sides = (None if blob is None else GitOid(blob) for blob in state.blobs)
    staged = [entry for entry in tracked(repository.git, [state.path]) if entry.path == state.path]
    manifest = manifest_at(reader, staged[0].oid) if len(staged) == 1 else None
    if manifest is None or staged[0].oid != state.merged:
        return None
    if not all(_has(repository, reader, commit, state.path, blob) for commit, blob in zip(commits, sides, strict=True)):
        return None
    if any(blob is not None and manifest_at(reader, blob) is None for blob in (base, *sides)):
        return None
    return MergedPath(state.path, base, tuple(sides), state.rules, staged[0].oid, manifest.model_id())


def _has(repository: Repository, reader: ObjectReader, commit: GitOid, path: str, blob: GitOid | None) -> bool:
    """Say whether a commit has a blob at a path, or under the name that the file had before a side renamed it."""
    there = reader.read(f"{commit}:{path}", prefix=PREFIX)
    if blob == (None if there is None else there.oid):
        return True
    return blob is not None and any(entry.oid == blob for entry in list_tree(repository.git, commit))
