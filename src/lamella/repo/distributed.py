"""A folder that torch.distributed wrote: the tensors of which its files have the pieces, as `.metadata` lists them."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping, Sequence

from lamella.core.errors import FormatError, NotFoundError
from lamella.core.limits import MAX_PICKLE_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.file import BytesFile
from lamella.formats.torch.distributed import TorchDistributedFormat
from lamella.formats.torch.distributed_metadata import METADATA, SUFFIX, Item, piece_name, read_items
from lamella.repo.manifest import naming
from lamella.repo.model_file import ModelFile, TensorHolder
from lamella.repo.model_folders import ModelFolder
from lamella.repo.pieces import JoinedPieces, Piece, make_up


def with_whole_tensors(
    folder: ModelFolder, files: Sequence[ModelFile], paths: Container[str]
) -> tuple[list[ModelFile], list[TensorHolder]]:
    """Return the model files among `files`, and what has their tensors, those of torch.distributed whole.

    `paths` are those of all files of the folder. A file beside `.metadata` that it does not describe is no model file.
    Raises NotFoundError (path-unknown) and FormatError as `whole_tensors` does.
    """
    shared: dict[str, dict[str, ModelFile]] = {}
    for file in files:
        if file.format == TorchDistributedFormat.name:
            shared.setdefault(os.path.dirname(file.path), {})[os.path.basename(file.path)] = file
    alone = [file for file in files if not (file.path.endswith(SUFFIX) and os.path.dirname(file.path) in shared)]
    holders: list[TensorHolder] = list(alone)
    for below, beside in shared.items():
        metadata = os.path.join(below, METADATA)
        check_described([file.path for file in beside.values()], paths)
        with naming(metadata):
            listed = read_items(BytesFile(folder.text(metadata, MAX_PICKLE_NBYTES)))
            holders.append(whole_tensors(below or metadata, listed, beside))
    return [*alone, *(file for beside in shared.values() for file in beside.values())], holders


def check_described(files: Iterable[str], paths: Container[str]) -> None:
    """Raise NotFoundError (path-unknown) where a file of a checkpoint has no `.metadata` beside it."""
    for path in files:
        metadata = os.path.join(os.path.dirname(path), METADATA)
        if path.endswith(SUFFIX) and metadata not in paths:
            raise NotFoundError(
                f"there is no {metadata}, which says what is in {path}",
                kind="path-unknown",
                hint="copy all files of the checkpoint, and add that one too",
            )


def whole_tensors(path: str, listed: Mapping[str, Sequence[Item]], files: Mapping[str, ModelFile]) -> JoinedPieces:
    """Return the tensors that `listed` pieces make up, which lie in `files`, both by the name of the file.

    A piece that two files have counts once. Raises NotFoundError (path-unknown) where a file is not there, and
    FormatError (header-malformed) where the files do not hold what is listed, or the pieces are not all of a tensor.
    """
    pieces: dict[str, dict[tuple[tuple[int, ...], tuple[int, ...]], Piece]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name in sorted(listed):
        if name not in files:
            raise NotFoundError(
                f"{METADATA} names {name[:80]!r}, which is not here, or not as it says",
                kind="path-unknown",
                hint="copy all files of the checkpoint, or name its files one by one",
            )
        taken: dict[str, Item] = {}
        for item in listed[name]:
            piece = _piece(item, files[name])
            if taken.setdefault(piece.name, item).name != item.name:
                raise _malformed(f"two tensors in {name} have pieces called {piece.name[:80]!r}")
            shapes[item.name] = item.shape
            pieces.setdefault(item.name, {}).setdefault((piece.origin, piece.extents), piece)
    return JoinedPieces(path, {name: _whole(name, shapes[name], list(of.values())) for name, of in pieces.items()})


def _piece(item: Item, file: ModelFile) -> Piece:
    origin, extents = item.origin or (0,) * len(item.shape), item.extents or item.shape
    if len(origin) == len(extents) == len(item.shape):
        name = item.name if extents == item.shape else piece_name(item.name, origin, extents)
        spec = file.specs.get(name)
        if spec is not None and spec.shape == extents:
            return Piece(file, name, origin, extents)
    raise _malformed(f"{item.file[:80]} has no {item.name[:80]!r} as it says")


def _whole(name: str, shape: tuple[int, ...], pieces: Sequence[Piece]) -> tuple[TensorSpec, Sequence[Piece]]:
    specs = [piece.holder.specs[piece.name] for piece in pieces]
    dtype = specs[0].dtype
    if any(spec.dtype != dtype for spec in specs) or (len(pieces) > 1 and (dtype.bits % 8 or dtype.block_elements > 1)):
        raise _malformed(f"the pieces of {name[:80]!r} are not of one dtype")
    if not make_up(shape, pieces):
        raise _malformed(f"the pieces of {name[:80]!r} overlap, or are not all of it")
    return TensorSpec(name, dtype, shape), pieces


def _malformed(reason: str) -> FormatError:
    hint = "its files are of several checkpoints; take all of them from one, or name them one by one"
    return FormatError(f"it does not fit its files: {reason}", kind="header-malformed", hint=hint)
