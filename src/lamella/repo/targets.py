"""What a command line names to look into: a file or a folder on disk, or one at a revision."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lamella.core.config import DEFAULT
from lamella.core.errors import NotFoundError, UsageError
from lamella.repo.joined_model import Model
from lamella.repo.model_files import model_at, model_on_disk
from lamella.repo.repository import Repository, split_specification
from lamella.store.objects import ObjectStore

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@contextmanager
def opened_model(text: str, directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[Model]:
    """Give the model that `text` names, seen from `directory`: what is on disk goes before ``REV:PATH``.

    No repository is needed for what is on disk. Raises NotFoundError (path-unknown, revision-unknown) for what names
    nothing, UsageError (not-a-repository), and FormatError where a file is not what it claims to be.
    """
    where = directory / text
    with ExitStack() as closing:
        if os.path.lexists(where):

            def store() -> ObjectStore:
                try:
                    repository = Repository.open(where if where.is_dir() else where.parent, environment=environment)
                except UsageError as exc:
                    raise NotFoundError(
                        f"{text} is a manifest, and the weights it stands for are not here",
                        kind="object-missing",
                        hint="go to the repository that it comes from",
                    ) from exc
                return closing.enter_context(repository).existing_store()

            model = model_on_disk(where, text, store, DEFAULT.threads)
        elif ":" in text:
            repository = closing.enter_context(Repository.open(directory, environment=environment))
            revision, path = relative_to_root(repository, text)
            model = model_at(repository, revision, path)
        else:
            hint = f"a file of a revision is named as in `HEAD:{text}`"
            raise NotFoundError(f"there is no file or folder {text}", kind="path-unknown", hint=hint)
        closing.callback(model.close)
        yield model


@contextmanager
def opened_source(text: str, directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[Model]:
    """Give the model that a recipe names: as `opened_model` does, or by PATH@REV, or all that a revision has, by REV.

    Nothing is downloaded. Raises as `opened_model` does.
    """
    path, at, revision = text.rpartition("@")
    if not os.path.lexists(directory / text) and ":" not in text:
        if at and path and revision:
            text = f"{revision}:{path}"
        elif _is_revision(text, directory, environment):
            text = f"{text}:."
        else:
            hint = f"a file of a revision is named as in `HEAD:{text}`"
            if _HUB_ID.fullmatch(text):
                hint = "nothing is downloaded: fetch the model, and name its folder"
            raise NotFoundError(f"there is no file, folder or revision {text}", kind="path-unknown", hint=hint)
    with opened_model(text, directory, environment) as model:
        yield model


def _is_revision(text: str, directory: Path, environment: Mapping[str, str] | None) -> bool:
    try:
        with Repository.open(directory, environment=environment) as repository:
            repository.git.resolve(text)
    except (UsageError, NotFoundError):
        return False
    return True


def relative_to_root(repository: Repository, specification: str) -> tuple[str, str]:
    """Split ``REV:PATH`` as Git does: a path that begins with a dot is seen from where the user stands.

    Raises UsageError (bad-argument) where there is no path.
    """
    revision, path = split_specification(specification)
    if path in (".", "..") or path.startswith(("./", "../")):
        path = os.path.relpath(repository.git.directory / path, repository.git.root)
    return revision, path
