"""The containers that files are written in, and how one is found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from lamella.core.errors import UsageError
from lamella.formats.gguf.writer import GgufWriter
from lamella.formats.numpy.writer import NpyWriter, NpzWriter
from lamella.formats.safetensors.writer import SafetensorsWriter
from lamella.formats.torch.writer import TorchWriter
from lamella.formats.writer import Writer

WRITERS: Sequence[Writer] = (SafetensorsWriter(), TorchWriter(), NpzWriter(), NpyWriter(), GgufWriter())
"""Every container that is written from tensors alone."""

TEMPLATE_ONLY = "onnx"
"""The container whose files hold a program, and so are only written into one that is there."""

NAMES = (*(writer.name for writer in WRITERS), TEMPLATE_ONLY)


_ONLY_READ = {
    ".h5": "HDF5", ".hdf5": "HDF5", ".hdf": "HDF5", ".keras": "Keras", ".tflite": "TensorFlow Lite",
    ".pb": "TensorFlow", ".msgpack": "Flax", ".zarr": "Zarr", ".parquet": "Parquet", ".csv": "CSV",
}  # fmt: skip
"""What files of a suffix are called that are read and not written."""


def writer_for(path: PurePath, name: str | None = None) -> Writer:
    """Return the writer called `name` or, without one, the writer of files that are called as `path` is.

    Raises UsageError (bad-argument) where there is none.
    """
    suffix = path.suffix.lower()
    found = next((one for one in WRITERS if (one.name == name if name else suffix in one.suffixes)), None)
    if found is not None:
        return found
    if name == TEMPLATE_ONLY or (name is None and suffix == f".{TEMPLATE_ONLY}"):
        hint = "name an ONNX file with `--template FILE`: the weights go into a copy of it"
        raise UsageError("an ONNX file is a program, which weights alone do not make", kind="bad-argument", hint=hint)
    if name is None and suffix in _ONLY_READ:
        hint = f"choose what is written with `--format`: {', '.join(NAMES)}"
        said = f"Lamella reads {_ONLY_READ[suffix]} files and does not write them"
        raise UsageError(said, kind="bad-argument", hint=hint)
    said = f"no container is called {name!r}" if name else f"{path.name!r} does not say which container it is to be"
    raise UsageError(said, kind="bad-argument", hint=f"choose with `--format`: {', '.join(NAMES)}")
