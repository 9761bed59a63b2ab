"""`id`: the model id of files and folders, on disk or at a revision."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.core.progress import SILENT, Progress
from lamella.repo.disk_model_file import DiskModelFile
from lamella.repo.joined_model import Model
from lamella.repo.located import LocatedTensors


@dataclass(frozen=True, slots=True)
class Identity:
    """The id of one model, which the same weights have in any container, and of how many tensors it is made.

    `unread` are folders within it whose model files are no part of it, `missing` files that it names and has not.
    """

    name: str
    model_id: str
    tensors: int
    files: tuple[str, ...]
    unread: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def identify_model(model: Model, progress: Progress = SILENT) -> Identity:
    """Return a model's id: from its manifests where it has some, and by hashing files on disk; nothing is stored."""
    for one in (*model.files, *model.holders):
        if isinstance(one, DiskModelFile | LocatedTensors):
            one.progress = progress
    files = tuple(file.path for file in model.files)
    return Identity(model.path, model.model_id(), len(model.names), files, model.unread, model.missing)
