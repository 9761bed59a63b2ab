"""The formats that come with Lamella, in the order in which a file is offered to them."""

from __future__ import annotations

from lamella.formats.base import DescribedFormat, Format
from lamella.formats.data.csv_table import CsvFormat
from lamella.formats.data.json_lines import JsonLinesFormat
from lamella.formats.data.parquet import ParquetFormat
from lamella.formats.flax.reader import FlaxMsgpackFormat
from lamella.formats.gguf.reader import GgufFormat
from lamella.formats.hdf5.reader import Hdf5Format
from lamella.formats.keras.reader import KerasFormat
from lamella.formats.numpy.npy import NpyFormat
from lamella.formats.numpy.npz import NpzFormat
from lamella.formats.onnx.external import OnnxDataFormat
from lamella.formats.onnx.reader import OnnxFormat
from lamella.formats.safetensors.reader import SafetensorsFormat
from lamella.formats.tensorflow.checkpoint import TensorflowCheckpointFormat
from lamella.formats.tensorflow.graphs import FrozenGraphFormat, SavedModelFormat
from lamella.formats.tflite.reader import TfliteFormat
from lamella.formats.torch.archive import TorchZipFormat
from lamella.formats.torch.distributed import TorchDistributedFormat
from lamella.formats.torch.legacy import TorchLegacyFormat
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
