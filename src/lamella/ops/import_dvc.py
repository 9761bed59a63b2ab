"""`import` of a DVC project: in its history, files that DVC kept become files that Lamella keeps."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.core.progress import SILENT, Progress
from lamella.ops.migrate import MigrateReport, hand_over, pattern_bytes
from lamella.repo.dvcorigin import DvcOrigin
from lamella.repo.git import GitOid
from lamella.repo.repository import Repository


def import_dvc(
    repository: Repository,
    patterns: Sequence[str] = (),
    *,
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> MigrateReport:
    """Make every commit of all local branches and tags anew, with the files that DVC kept as model files.

    They come from the project's cache, each held against its MD5. `.dvc` files whose outputs are all there go, with
    their lines of .gitignore; `dvc.yaml` and `dvc.lock` stay. `patterns` choose among the files, as for `migrate`,
    which says all else.
    """
    named = [pattern_bytes(pattern) for pattern in patterns]

    def origin(tips: Sequence[GitOid]) -> DvcOrigin:  # noqa: ARG001 -- a tree says all by itself
        return DvcOrigin(repository.git, repository.worktree, named)

    return hand_over(repository, origin, (), "import", dry_run=dry_run, progress=progress)
