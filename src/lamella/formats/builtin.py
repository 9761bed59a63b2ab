"""The formats that come with Lamella, in the order in which a file is offered to them."""

from __future__ import annotations

from lamella.formats.base import DescribedFormat, Format
from lamella.formats.csv_table import CsvFormat
from lamella.formats.flax_msgpack import FlaxMsgpackFormat
from lamella.formats.gguf import GgufFormat
from lamella.formats.hdf5 import Hdf5Format
from lamella.formats.json_lines import JsonLinesFormat
from lamella.formats.keras import KerasFormat
from lamella.formats.npy import NpyFormat
from lamella.formats.npz import NpzFormat
from lamella.formats.onnx import OnnxFormat
from lamella.formats.onnx_external import OnnxDataFormat
from lamella.formats.opaque import OpaqueFormat
from lamella.formats.parquet import ParquetFormat
from lamella.formats.safetensors import SafetensorsFormat
from lamella.formats.saved_model import FrozenGraphFormat, SavedModelFormat
from lamella.formats.tf_checkpoint import TensorflowCheckpointFormat
from lamella.formats.tflite import TfliteFormat
from lamella.formats.torch_distributed import TorchDistributedFormat
from lamella.formats.torch_legacy import TorchLegacyFormat
from lamella.formats.torch_zip import TorchZipFormat
from lamella.formats.zarr import ZarrFormat

MODELS: tuple[Format, ...] = (
    SafetensorsFormat(),
    GgufFormat(),
    Hdf5Format(),
    NpyFormat(),
    TorchZipFormat(),
    KerasFormat(),
    NpzFormat(),
    TorchLegacyFormat(),
    TfliteFormat(),
    OnnxFormat(),
    SavedModelFormat(),
    FrozenGraphFormat(),
    FlaxMsgpackFormat(),
)
"""Formats of models: those with a magic number first, then those that are told by how they begin."""

DATA: tuple[Format, ...] = (
    ParquetFormat(),
    JsonLinesFormat(),
    CsvFormat(),
)
"""Formats of data sets, which have no tensors."""

FORMATS: tuple[Format, ...] = (*MODELS, *DATA)
"""Every format that claims files by their content. The first that claims a file has it."""

DESCRIBED: tuple[DescribedFormat, ...] = (
    TensorflowCheckpointFormat(),
    OnnxDataFormat(),
    TorchDistributedFormat(),
    ZarrFormat(),
)
"""Formats whose files of tensors are described by a file beside them."""

OPAQUE = OpaqueFormat()
"""The format of every file that none of these claims, or that is not what it claims."""
