"""`align`: which tensor, and which layer, of one model became which of another."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.core.progress import SILENT, Progress
from lamella.model.align import align
from lamella.model.alignment import Alignment
from lamella.repo.disk_model_file import DiskModelFile
from lamella.repo.joined_model import Model
from lamella.repo.located import LocatedTensors
from lamella.repo.sketches import SketchCache
from lamella.repo.weights import ModelWeights


@dataclass(frozen=True, slots=True)
class AlignReport:
    """Two models by name, and how they go beside each other.

    `shapes_before` and `shapes_after` have the shape of every tensor, by name.
    """

    before: str
    after: str
    alignment: Alignment
    shapes_before: dict[str, tuple[int, ...]]
    shapes_after: dict[str, tuple[int, ...]]


def align_models(
    before: Model, after: Model, cache: SketchCache | None = None, progress: Progress = SILENT
) -> AlignReport:
    """Put two models beside each other, wherever they are; files on disk are hashed, and nothing else is stored.

    `cache` has sketches of tensors that were looked at before, and gets those of others. Raises what reading raises.
    """
    for model in (before, after):
        model.check_whole()
        for one in (*model.files, *model.holders):
            if isinstance(one, DiskModelFile | LocatedTensors):
                one.progress = progress
    alignment = align(ModelWeights(before, cache), ModelWeights(after, cache))
    shapes = [{name: model.spec(name).shape for name in model.names} for model in (before, after)]
    return AlignReport(before.path, after.path, alignment, shapes[0], shapes[1])
