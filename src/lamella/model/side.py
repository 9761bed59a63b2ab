"""One of two models that are put beside each other: its tensors and layers, and what their sketches say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lamella.core.buffers import Buffer
from lamella.core.tensors import TensorSpec
from lamella.model.layers import kind, list_layers
from lamella.model.sketch import BUCKETS, count_values, unit_buckets

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

LEAST_VALUES = 16
"""With fewer values any two tensors are alike, or opposite."""
MOST_WEIGHT = 4096
"""How much one tensor counts among others, at most: its values, as far as a sketch tells one more from one less."""


class AlignmentSource(Protocol):
    """A model to be put beside another: a file, a revision, arrays. Names are asked for in the order of `specs`."""

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors in file order, each name once."""
        ...

    def contents(self) -> Sequence[bytes]:
        """Return for each tensor a digest of its bytes."""
        ...

    def sketches(self, names: Sequence[str]) -> Array:
        """Return the sketches of tensors, float32[n, 256], as `take_sketch` makes them."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Buffer:
        """Return the bytes from `start` to `stop` of one tensor."""
        ...


def is_vector(shape: Sequence[int]) -> bool:
    """Say whether a shape has one axis at most.

    The norms of all blocks of a network are alike, up to a cosine of .95, and so are many biases: they say where
    something goes only among few others.
    """
    return sum(extent > 1 for extent in shape) < 2


def _shared(enclosing: Iterable[Sequence[str]]) -> frozenset[str]:
    """Return the blocks with more than one layer."""
    counts = Counter(block for blocks in enclosing for block in blocks)
    return frozenset(block for block, count in counts.items() if count > 1)


class Side:
    """A source with its layers; tensors and layers are numbers from here on."""

    def __init__(self, source: AlignmentSource) -> None:
        import numpy

        self.source = source
        self.specs = source.specs()
        self.names = [spec.name for spec in self.specs]
        self.kinds = [kind(spec) for spec in self.specs]
        self.contents = source.contents()
        self.copies = Counter(self.contents)
        self.values = [count_values(spec) for spec in self.specs]
        self.layers = list_layers(self.specs)
        self.blocks = _shared(layer.blocks for layer in self.layers)
        self.layer_of = [0] * len(self.specs)
        for number, layer in enumerate(self.layers):
            for tensor in layer.tensors:
                self.layer_of[tensor] = number
        self.weights = numpy.zeros(len(self.specs))
        self.is_vector = numpy.array([is_vector(spec.shape) for spec in self.specs], bool)
        self._row = numpy.full(len(self.specs), -1)
        self._units = numpy.zeros((1, BUCKETS), numpy.float32)

    def place(self, layer: int) -> float:
        """Return where among all layers one is, from 0 to 1."""
        return layer / max(1, len(self.layers) - 1)

    def weight(self, tensors: Sequence[int], *, vectors: bool) -> float:
        """Return how much some loaded tensors say, together, those of one axis only if `vectors` count."""
        chosen = self.weights[list(tensors)]
        return float(chosen.sum() if vectors else chosen[~self.is_vector[list(tensors)]].sum())

    def load(self, tensors: Iterable[int]) -> None:
        """Ask for the sketches of tensors that have none yet, and weigh them.

        What is constant, has few values, or is there more than once weighs nothing: it could be anything.
        """
        import numpy

        missing = [tensor for tensor in tensors if self._row[tensor] < 0 and self.values[tensor] >= LEAST_VALUES]
        if not missing:
            return
        units = unit_buckets(self.source.sketches([self.names[tensor] for tensor in missing]))
        self._row[missing] = numpy.arange(len(self._units), len(self._units) + len(missing))
        self._units = numpy.concatenate([self._units, units])
        says = numpy.asarray(units.any(axis=1))
        for tensor, tells in zip(missing, says.tolist(), strict=True):
            if tells and self.copies[self.contents[tensor]] == 1:
                self.weights[tensor] = min(self.values[tensor], MOST_WEIGHT)

    def units(self, tensors: Sequence[int]) -> Array:
        """Return the directions of the sketches of loaded tensors, float32[n, 254], 0 for those of few values."""
        import numpy

        made: Array = self._units[numpy.maximum(self._row[list(tensors)], 0)]
        return made

    def unit(self, tensor: int) -> Array:
        """Return the direction of the sketch of one loaded tensor, float32[254]."""
        made: Array = self._units[max(0, self._row[tensor])]
        return made
