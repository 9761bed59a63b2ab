"""Which files belong together, where frameworks divide one model: SavedModels, and ONNX with external data."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.formats.onnx.external import OnnxDataFormat
from lamella.formats.onnx.metadata import EXTERNAL
from lamella.formats.onnx.reader import OnnxFormat
from lamella.formats.tensorflow.checkpoint import TensorflowCheckpointFormat
from lamella.formats.tensorflow.graphs import SavedModelFormat
from lamella.repo.model_file import ModelFile

GRAPH_FORMAT = SavedModelFormat.name
VARIABLES_FORMAT = TensorflowCheckpointFormat.name
VARIABLES = "variables"
"""The folder beside the graph of a SavedModel that has a checkpoint of its variables."""

DATA_FORMAT = OnnxDataFormat.name

ORBAX = ("_CHECKPOINT_METADATA", "manifest.ocdbt")
"""Files by which a checkpoint of Orbax is told."""


def external_files(file: ModelFile) -> Sequence[str] | None:
    """Return the locations at which an ONNX model has tensors beside itself; none of any other file.

    None where only the header of a stored model could tell, and that is not at hand.
    """
    if file.format != OnnxFormat.name:
        return ()
    metadata = file.metadata()
    if metadata is None:
        return None
    return [key.removeprefix(EXTERNAL) for key in metadata if key.startswith(EXTERNAL)]


def is_plain(location: str) -> bool:
    """Say whether a location that is not trusted names a file in the model's own folder."""
    return location not in ("", ".", "..") and not set("/\\\0") & set(location)
