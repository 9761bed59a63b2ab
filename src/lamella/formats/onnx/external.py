"""Files of tensors that ONNX models keep beside themselves, as `external_data` says."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DESCRIBING_FIELDS, MAX_DESCRIBING_FILES, MAX_PROTOBUF_FIELDS
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import arrange
from lamella.formats.base import Beside, Layout, RandomAccess, TensorSpan
from lamella.formats.onnx.reader import OnnxFormat
from lamella.formats.onnx.tensors import ModelTensor, model_tensors
from lamella.formats.protobuf import WireReader, malformed

_ENDINGS = (".onnx", ".onnx.pb")
_HEAD_NBYTES = 4096
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z", re.ASCII)


class OnnxDataFormat:
    """A file whose name is the `location` of tensors of a model in the same folder.

    https://onnx.ai/onnx/repo-docs/ExternalData.html specifies it. Only models whose names end as those of ONNX models
    do are asked, those whose name the file's begins with before the others and so many of them, and the first that
    knows the file describes it. A model that has more fields than may still be read of them all is passed over. A
    location is compared with the file's name and never opened: one with a folder in it names no file.
    """

    name = "onnx-data"

    def layout(self, file: RandomAccess, beside: Beside) -> Layout | None:
        """Return where the tensors lie, None where no model names the file.

        Raises FormatError where one does, and the file is not as it says.
        """
        if not _is_plain(beside.name):
            return None
        left = {True: MAX_PROTOBUF_FIELDS, False: MAX_DESCRIBING_FIELDS}
        for model, akin in _models(beside):
            reader = WireReader(model, left[akin])
            tensors = _tensors_in(reader, beside.name)
            left[akin] = max(0, reader.left)
            if tensors:
                return arrange(self.name, file.nbytes, [_span(one, file.nbytes) for one in tensors])
        return None


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and not set("/\\\0:") & set(name)


def _models(beside: Beside) -> Iterator[tuple[RandomAccess, bool]]:
    """Yield the models of the folder, in the order in which they are asked, and whether the file is called after it."""
    akin = functools.partial(_is_akin, beside.name)
    named = [name for name in beside.neighbours.names() if name.lower().endswith(_ENDINGS) and name != beside.name]
    named.sort(key=akin, reverse=True)
    for name in named[:MAX_DESCRIBING_FILES]:
        model = beside.neighbours.open(name)
        if model is not None:
            head = bytes(model.read_at(0, min(_HEAD_NBYTES, model.nbytes)))
            if OnnxFormat().sniff(head, model.nbytes):
                yield model, akin(name)


def _is_akin(name: str, model: str) -> bool:
    return name.startswith(model[: model.lower().index(_ENDINGS[0])])


def _tensors_in(reader: WireReader, location: str) -> list[ModelTensor]:
    """Return the tensors of a model that lie in the file `location`; none where the model is malformed."""
    # A model that is malformed describes nothing: that it is malformed is said where it is added itself.
    with suppress(FormatError):
        return [
            one
            for one in model_tensors(reader)
            if one.external is not None and one.external.get("location") == location
        ]
    return []


def _span(tensor: ModelTensor, file_nbytes: int) -> TensorSpan:
    """Return the span of a tensor, which has exactly the bytes that its entries say."""
    entries = tensor.external or {}
    offset = _number(entries, "offset", 0, tensor.spec)
    nbytes = _number(entries, "length", file_nbytes - offset, tensor.spec)
    if nbytes != tensor.spec.nbytes:
        raise malformed(
            f"tensor {tensor.spec.name[:80]!r} has {nbytes} bytes of external data, where its shape takes"
            f" {tensor.spec.nbytes}"
        )
    return TensorSpan(tensor.spec, offset)


def _number(entries: Mapping[str, str], key: str, default: int, spec: TensorSpec) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not _NUMBER.match(text):
        raise malformed(f"the {key} of tensor {spec.name[:80]!r} is no number")
    return int(text)
