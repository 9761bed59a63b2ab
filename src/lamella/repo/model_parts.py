"""Which files belong together, where frameworks divide one model: SavedModels, and ONNX with external data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

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


def missing_data(files: Sequence[ModelFile]) -> list[str]:
    """Return what ONNX models among `files` name and the others are not, or that their headers are not at hand."""
    here = {file.path for file in files if file.format == DATA_FORMAT}
    missing = []
    for file in files:
        locations = external_files(file)
        if locations is None:
            missing.append(f"the header of {file.path}")
        missing += [one for one in locations or () if os.path.join(os.path.dirname(file.path), one) not in here]
    return missing


def data_files(files: Sequence[ModelFile]) -> Mapping[str, ModelFile]:
    """Return the files of an ONNX model beside its own, which is the first, by the names under which it knows them.

    None where `files` are anything else.
    """
    if not files or files[0].format != OnnxFormat.name or any(one.format != DATA_FORMAT for one in files[1:]):
        return {}
    return {os.path.basename(one.path): one for one in files[1:]}


def is_plain(location: str) -> bool:
    """Say whether a location that is not trusted names a file in the model's own folder."""
    return location not in ("", ".", "..") and not set("/\\\0") & set(location)
