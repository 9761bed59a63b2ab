"""The models of a merge, numbered: the base is BASE, ours 0; what each holds, looked up by place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lamella.core.buffers import Buffer
from lamella.core.tensors import TensorSpec
from lamella.model.merging.plan import BASE, Place
from lamella.model.merging.side import MergeSide


class Models:
    """Base and sides. Names and digests are asked for once."""

    def __init__(self, base: MergeSide | None, sides: Sequence[MergeSide]) -> None:
        self.base = base
        self.sides = tuple(sides)
        self._numbered = {**({} if base is None else {BASE: base}), **dict(enumerate(sides))}
        self._specs = {number: {spec.name: spec for spec in one.specs()} for number, one in self._numbered.items()}
        self._digests: dict[int, dict[str, bytes]] = {}

    @property
    def has_base(self) -> bool:
        """Whether the sides come from one version that is known."""
        return self.base is not None

    def numbered(self, number: int) -> MergeSide:
        """Return one of the models."""
        return self._numbered[number]

    def specs(self, number: int) -> Sequence[TensorSpec]:
        """Return the tensors of one of the models, in its order."""
        return list(self._specs[number].values())

    def find(self, number: int, name: str | None) -> Place | None:
        """Return where a tensor is, None where that model has none of that name."""
        return None if name is None or name not in self._specs[number] else Place(number, name)

    def spec(self, place: Place) -> TensorSpec:
        """Return a tensor's spec, under the name that it has at its place."""
        return self._specs[place.side][place.name]

    def digest(self, place: Place) -> bytes:
        """Return the digest of a tensor's bytes."""
        if place.side not in self._digests:
            contents = map(bytes, self._numbered[place.side].contents())
            self._digests[place.side] = dict(zip(self._specs[place.side], contents, strict=True))
        return self._digests[place.side][place.name]

    def content(self, place: Place | None) -> object:
        """Return what is equal for tensors of one dtype, shape and bytes, and None for none."""
        return None if place is None else (self.spec(place).dtype, self.spec(place).shape, self.digest(place))

    def stream(self, side: int, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield tensors of one model, each in pieces."""
        return self._numbered[side].stream(names)
