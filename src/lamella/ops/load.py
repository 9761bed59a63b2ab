"""`load`: a model at a revision, or in a file, as a lazy mapping of name to array."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from lamella.ops.repository import Repo
from lamella.repo.loaded import LoadedModel
from lamella.repo.targets import opened_model


def load(source: str | Path, *, repo: Repo | str | Path = ".") -> LoadedModel:
    """Return the model ``REV:PATH``, or the one in a file or a folder, as a mapping of name to NumPy array.

    What is on disk goes first: a file of any format, in a repository or not, a folder of them, or an index of shards;
    where only a manifest is in the worktree, the model comes from the store. Anything else is ``REV:PATH`` as
    `git show` takes it. Paths are seen from `repo`, by default the current directory, and revisions are those of the
    repository around it.

    Opening reads no tensors. An array is read when its name is looked up; `read` gives raw bytes and `specs` what there
    is. Close it, or use it in a `with` block.

    Raises NotFoundError (path-unknown, revision-unknown), UsageError (bad-argument, not-a-repository), and FormatError
    where a file is not what it claims to be.
    """
    directory = repo.root if isinstance(repo, Repo) else Path(repo)
    with ExitStack() as closing:
        model = closing.enter_context(opened_model(os.fspath(source), directory))
        return LoadedModel(model, closing.pop_all())
