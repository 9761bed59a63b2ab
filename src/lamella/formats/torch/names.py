"""The tensors in what a pickle holds, by the names that a state dict gives them, and the plain values beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_METADATA_NBYTES, MIB
from lamella.formats.names import NO_TEXT
from lamella.formats.torch.pickle_values import ARGS, NOTHING, PAIRS, STATE, Node, Storage, Tensor, Value, malformed

_MEMORY_NBYTES = 32 * MIB
"""What names, and the way to them, may take, beside as much as the pickle is long."""

_TENSOR_NBYTES = 512
_CONTAINER_NBYTES = 96
_AGAIN_NBYTES = 32
"""What each place in a container is charged that is gone through once more: time is bounded as memory is."""

_MAX_DEPTH = 1000
"""Containers in one another; picklers stop at about as many."""

_MAX_NAME_LENGTH = 2000
"""Characters; of longer names the rest is left out."""

_MAX_VALUES = 2000
"""Plain values that are shown."""

_REGISTERED = frozenset({"_parameters", "_buffers", "_modules"})
"""The attributes of a module whose keys are the names of its state dict."""

_LONE_TENSOR = "tensor"
"""The name of a tensor that is all that a file holds."""


@dataclass(frozen=True, slots=True)
class Found:
    """What has a name in a pickle: tensors, each name once, and plain values as text."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)


class _Way(Enum):
    """How a value is reached."""

    PLAIN = auto()
    """By keys and numbers: what was met before is not gone through again."""

    REGISTERED = auto()
    """By what a module registers: a state dict names it once for each way to it."""

    ATTRIBUTE = auto()
    """By other attributes of an object: even a tensor that was met before is not named again."""


@dataclass(slots=True)
class _Frame:
    """A container on the way to a tensor; `attributes` says that it holds those of an object."""

    prefix: str | None
    children: Iterator[tuple[str | None, Value]]
    way: _Way
    attributes: bool


def find_tensors(roots: Sequence[tuple[str | None, Value]], pickle_nbytes: int) -> Found:
    """Return the tensors in the values of pickles, of `pickle_nbytes` bytes together, in their order.

    Each value comes with the name that those of its tensors begin with. Keys are joined with dots. Every container is
    gone through once, however often it is referred to. A name that is met again is told from the first by a number.

    Raises FormatError: header-too-deep, too-many-tensors, header-malformed.
    """
    search = _Search(pickle_nbytes)
    for name, value in roots:
        search.search(name, value)
    return search.found


class _Search:
    """A walk over values, without recursion."""

    def __init__(self, pickle_nbytes: int) -> None:
        self.found = Found()
        self._rest_nbytes = _MEMORY_NBYTES + pickle_nbytes
        self._frames: list[_Frame] = []
        self._seen: set[int] = set()
        self._spread: set[int] = set()
        self._repeats: dict[str, int] = {}

    def search(self, name: str | None, value: Value) -> None:
        """Find what is in a value."""
        self._visit(name, value, _Way.PLAIN)
        while self._frames:
            frame = self._frames[-1]
            for key, child in frame.children:
                self._step(frame, key, child)
                if self._frames[-1] is not frame:
                    break
            else:
                self._frames.pop()

    def _step(self, frame: _Frame, key: str | None, child: Value) -> None:
        if key is None:
            self._visit(frame.prefix, child, frame.way, frame.attributes)
        elif frame.attributes and key in _REGISTERED:
            self._visit(frame.prefix, child, _Way.REGISTERED)
        else:
            name = key if frame.prefix is None else f"{frame.prefix}.{key}"
            self._visit(name[:_MAX_NAME_LENGTH], child, _Way.ATTRIBUTE if frame.attributes else frame.way)

    def _visit(self, name: str | None, value: Value, way: _Way, attributes: bool = False) -> None:
        kind = type(value)
        if kind is Tensor:
            self._add(name, value, way)
        elif kind is Storage:
            self._add(name, Tensor(value, value.dtype, 0, (value.numel,), (1,), NOTHING), way)
        elif kind is _State:
            self._enter(name, value.value, way, attributes=True)
        elif kind in (Node, list, tuple):
            self._enter(name, value, way, attributes)
        elif kind in (str, int, float, bool) and name is not None and len(self.found.values) < _MAX_VALUES:
            self.found.values.setdefault(_one_line(name), _short(str(value)))

    def _enter(self, name: str | None, value: Value, way: _Way, attributes: bool) -> None:
        known = id(value) in self._seen and way is not _Way.REGISTERED
        if type(value) not in (Node, list, tuple) or not value or known:
            return
        self._charge(_CONTAINER_NBYTES + len(name or "") + _AGAIN_NBYTES * self._again(value))
        if len(self._frames) == _MAX_DEPTH:
            raise malformed("it nests too deep", kind="header-too-deep")
        self._seen.add(id(value))
        children = _pairs(value) if type(value) is Node else _numbered(value, attributes)
        self._frames.append(_Frame(name, children, way, attributes))

    def _again(self, value: Value) -> int:
        """Return how many places in a container, and in what it spreads, were gone through before."""
        count = 0
        for one in (value, *(_spread(value) if type(value) is Node else ())):
            count += len(one) if id(one) in self._spread else 0
            self._spread.add(id(one))
        return count

    def _add(self, name: str | None, tensor: Tensor, way: _Way) -> None:
        if way is _Way.ATTRIBUTE and id(tensor) in self._seen:
            return
        name = _one_line(_LONE_TENSOR if name is None else name)
        self._charge(_TENSOR_NBYTES + 2 * len(name))
        self._seen.add(id(tensor))
        unique = name
        while unique in self.found.tensors:
            self._repeats[name] = self._repeats.get(name, 1) + 1
            unique = f"{name}~{self._repeats[name]}"
        self.found.tensors[unique] = tensor
        if tensor.beside is not NOTHING:
            self._enter(name, tensor.beside, way, attributes=False)

    def _charge(self, nbytes: int) -> None:
        self._rest_nbytes -= nbytes
        if self._rest_nbytes < 0:
            raise FormatError(
                "pickle names more tensors than a reader may hold in memory",
                kind="too-many-tensors",
                hint="split the model into several files",
            )


@dataclass(frozen=True, slots=True)
class _State:
    """What was given to an object's `__setstate__`."""

    value: Value


def _numbered(items: Value, attributes: bool) -> Iterator[tuple[str | None, Value]]:
    """Yield items under their numbers; the state of an object with slots is a tuple of two mappings."""
    for index, item in enumerate(items):
        yield (None if attributes and type(item) is Node else str(index)), item


def _pairs(node: Node) -> Iterator[tuple[str | None, Value]]:
    """Yield keys as text, and values; of equal keys only the last."""
    last: dict[tuple[object, str], Value] = {}
    count = 0
    pairs = iter(node)
    for key, value in zip(pairs, pairs, strict=True):
        if key is STATE:
            yield None, _State(value)
        elif key is ARGS:
            for item in value:
                yield str(count), item
                count += 1
        elif key is PAIRS:
            for pair in value:
                if type(pair) not in (list, tuple) or len(pair) != 2:
                    raise malformed("a mapping is not made of pairs")
                last[_key(pair[0], len(last))] = pair[1]
        else:
            last[_key(key, len(last))] = value
    for (_, text), value in last.items():
        yield text, value


def _spread(node: Node) -> Iterator[Value]:
    """Yield the sequences whose items a node has as its own."""
    for at in range(0, len(node), 2):
        if node[at] is ARGS or node[at] is PAIRS:
            yield node[at + 1]


def _key(key: Value, number: int) -> tuple[object, str]:
    """Return what tells a key from others: its kind and its text."""
    kind = type(key)
    if kind is str:
        return kind, key
    if kind in (int, float, bool, type(None)):
        return kind, str(key)
    if kind is bytes:
        return kind, key.decode("utf-8", "backslashreplace")
    return object, f"key {number}"


def _one_line(name: str) -> str:
    """Return a name as one line of text."""
    if name.isascii() and name.isprintable():
        return name
    return NO_TEXT.sub(lambda match: f"\\u{ord(match[0]):04x}", name)[:_MAX_NAME_LENGTH]


def _short(text: str) -> str:
    data = text[:MAX_METADATA_NBYTES].encode("utf-8", "backslashreplace")
    return text if len(data) == len(text) else data[:MAX_METADATA_NBYTES].decode(errors="ignore")
