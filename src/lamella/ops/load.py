"""`load`: a model at a revision, or in a file, as a lazy mapping of name to array."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from lamella.core.errors import NotFoundError
from lamella.core.limits import MAX_MANIFEST_NBYTES
from lamella.ops.repository import Repo
from lamella.repo.manifest import PREFIX, Manifest, parse_for_git
from lamella.repo.modelfile import FileModel
from lamella.repo.repository import Repository
from lamella.repo.snapshot import Snapshot


def load(source: str | Path, *, repo: Repo | str | Path | None = None) -> Snapshot | FileModel:
    """Return the model ``REV:PATH``, or the one in a file, as a mapping of name to NumPy array.

    A string that names a file which is there means that file, of any format, inside of a repository or not; where only
    the manifest is in the worktree, the model comes from the store. Anything else is ``REV:PATH`` as `git show` takes
    it, in `repo` or, without it, the repository around the current directory.

    Opening reads no tensors. An array is read when its name is looked up; `read` gives raw bytes and `specs` what there
    is. Close it, or use it in a `with` block.

    Raises NotFoundError (path-unknown, revision-unknown), UsageError (bad-argument, not-a-repository).
    """
    if isinstance(repo, Repo):
        return open_model(source, lambda: Repository.open(repo.root))
    return open_model(source, lambda: Repository.open("." if repo is None else repo))


def open_model(source: str | Path, open_repository: Callable[[], Repository]) -> Snapshot | FileModel:
    """Return the model that `source` names, which owns the repository that was opened for it, if one was."""
    path = Path(source)
    if path.is_file():
        manifest = _manifest_in(path)
        return FileModel(path) if manifest is None else _snapshot(manifest, str(source), open_repository())
    if isinstance(source, Path) or ":" not in source:
        hint = "name a file that is there, or a model at a revision, as in `HEAD:model.safetensors`"
        raise NotFoundError(f"there is no file {os.fspath(source)!r}", kind="path-unknown", hint=hint)
    repository = open_repository()
    try:
        manifest = repository.manifest(*repository.located(source))
        return _snapshot(manifest, source, repository)
    except BaseException:
        repository.close()
        raise


def _manifest_in(path: Path) -> Manifest | None:
    """Return the manifest that stands in the place of a file, if one does."""
    with path.open("rb") as file:
        if file.read(len(PREFIX)) != PREFIX:
            return None
        file.seek(0)
        return parse_for_git(str(path), file.read(MAX_MANIFEST_NBYTES + 1))


def _snapshot(manifest: Manifest, label: str, repository: Repository) -> Snapshot:
    owned = ExitStack()
    owned.callback(repository.close)
    return Snapshot(repository.store, manifest, label, owned)
