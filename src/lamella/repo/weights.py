"""A model, wherever it is, as something to be put beside another: what it holds, and the sketches of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.core.ids import ObjectId
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import row_major
from lamella.formats.base import RandomAccess, TensorView
from lamella.formats.strided import read_view
from lamella.model.sketch import FLOATS, Read, take_sketch
from lamella.repo.joined_model import Model
from lamella.repo.sketches import SketchCache, is_kept

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


class ModelWeights:
    """An AlignmentSource of a model. Files on disk are hashed, once; sketches are kept in `cache`, if there is one."""

    def __init__(self, model: Model, cache: SketchCache | None = None) -> None:
        self._model = model
        self._cache = cache
        self._specs = {name: model.spec(name) for name in model.names}

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors, file by file, each in file order."""
        return list(self._specs.values())

    def contents(self) -> Sequence[ObjectId]:
        """Return the ids of their objects."""
        return [self._object(name) for name in self._specs]

    def _object(self, name: str) -> ObjectId:
        return self._model.rows[name].object

    def sketches(self, names: Sequence[str]) -> Array:
        """Return their sketches, those that are not kept made of some KiB of each tensor."""
        import numpy

        made = numpy.zeros((len(names), FLOATS), numpy.float32)
        keys = {
            name: (self._object(name), self._specs[name].dtype.name) for name in names if is_kept(self._specs[name])
        }
        known = {} if self._cache is None else self._cache.find(list(keys.values()))
        new = {}
        for row, name in enumerate(names):
            kept = known.get(keys[name]) if name in keys else None
            if kept is not None:
                made[row] = numpy.frombuffer(kept, "<f4")
                continue
            made[row] = take_sketch(self._specs[name], ranges(*self._locate(name)))
            if name in keys:
                new[keys[name]] = made[row].astype("<f4").tobytes()
        if self._cache is not None:
            self._cache.keep(new)
        return made

    def _locate(self, name: str) -> tuple[RandomAccess, TensorView]:
        file, inner = self._model.find(name)
        return file.locate(inner)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Buffer:
        """Return the bytes from `start` to `stop` of one tensor."""
        return ranges(*self._locate(name))(start, self._specs[name].nbytes if stop is None else stop)

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named its bytes, in pieces. See `Model.stream`."""
        return self._model.stream(names)


def ranges(file: RandomAccess, view: TensorView) -> Read:
    """Return what reads ranges of a tensor, each no earlier than the one before; elements that lie apart are gathered.

    What is gathered is gone through from its beginning, once.
    """
    box = view.boxes[0] if len(view.boxes) == 1 else None
    if box is not None and not view.swapped and box.strides == row_major(view.spec):
        return lambda start, stop: file.read_at(box.offset + start, stop - start)
    pieces, held, begins = read_view(file, view), b"", 0

    def read(start: int, stop: int) -> Buffer:
        nonlocal held, begins
        while begins + len(held) < stop:
            skipped = min(len(held), max(0, start - begins))
            held, begins = held[skipped:] + next(pieces), begins + skipped
        return held[start - begins : stop - begins]

    return read
