"""The text of a computation graph: JSON with a line for each node, the same for the same graph.

docs/spec/graph.md describes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from lamella.core.errors import FormatError
from lamella.core.graphs import Graph, Node, Port
from lamella.core.limits import MAX_GRAPH_FILE_NBYTES, MAX_GRAPH_LINE_NBYTES, MAX_GRAPH_NODES
from lamella.model.graph_check import check_graph, malformed

VERSION = 1
_VERSION_KEY = '"lamella graph": '

T = TypeVar("T")


def write_graph(graph: Graph) -> bytes:
    """Return the text of a graph, ASCII, the nodes in their order.

    Raises FormatError where `parse_graph` would refuse it: as `check_graph` does, and graph-malformed for what is too
    long.
    """
    check_graph(graph)
    lines = list(_lines(graph))
    longest = max(map(len, lines))
    if longest > MAX_GRAPH_LINE_NBYTES:
        raise malformed(f"a line of {longest} bytes is too long for a graph; {MAX_GRAPH_LINE_NBYTES} are read")
    text = "\n".join([*lines, ""]).encode("ascii")
    if len(text) > MAX_GRAPH_FILE_NBYTES:
        raise malformed(f"a graph of {len(text)} bytes is too large; {MAX_GRAPH_FILE_NBYTES} are read")
    return text


def parse_graph(text: bytes) -> Graph:
    """Return the graph of a text that `write_graph` made; no other text is taken, so that a graph has only one.

    Raises FormatError: graph-version for a text of a later version, graph-malformed, and as `check_graph` does.
    """
    if len(text) > MAX_GRAPH_FILE_NBYTES:
        raise malformed(f"a graph of {len(text)} bytes is too large; {MAX_GRAPH_FILE_NBYTES} are read")
    reader = _Lines(text)
    reader.expect("{")
    version = reader.value(_VERSION_KEY)
    if json.dumps(version) != str(VERSION):
        raise FormatError(
            f"the graph is of version {json.dumps(version)[:80]}, which this program does not read",
            kind="graph-version",
            hint="upgrade lamella",
        )
    level, source = reader.value('"level": '), reader.value('"source": ')
    attributes = reader.value('"attributes": ')
    inputs = tuple(reader.rows("inputs", _port, _port_row))
    outputs = tuple(reader.rows("outputs", _port, _port_row))
    nodes = tuple(reader.rows("nodes", _node, _node_row, last=True))
    reader.expect("}")
    reader.expect_end()
    try:
        graph = Graph(_text(level), _text(source), inputs, outputs, nodes, _attributes(attributes))
    except (TypeError, ValueError) as exc:
        raise malformed("the level, source or attributes of the graph are no texts") from exc
    check_graph(graph)
    return graph


def _lines(graph: Graph) -> Iterator[str]:
    yield "{"
    yield f"{_VERSION_KEY}{VERSION},"
    yield f'"level": {json.dumps(graph.level)},'
    yield f'"source": {json.dumps(graph.source)},'
    yield f'"attributes": {json.dumps(dict(graph.attributes))},'
    for title, rows, end in (
        ("inputs", map(_port_row, graph.inputs), "],"),
        ("outputs", map(_port_row, graph.outputs), "],"),
        ("nodes", map(_node_row, graph.nodes), "]"),
    ):
        yield f'"{title}": ['
        yield from _with_commas(rows)
        yield end
    yield "}"


def _with_commas(rows: Iterable[str]) -> Iterator[str]:
    held: str | None = None
    for row in rows:
        if held is not None:
            yield f"{held},"
        held = row
    if held is not None:
        yield held


def _port_row(port: Port) -> str:
    row: dict[str, object] = {"name": port.name}
    known = (("dtype", port.dtype), ("shape", port.shape), ("value", port.value))
    return json.dumps(row | {key: value for key, value in known if value is not None})


def _node_row(node: Node) -> str:
    row: dict[str, object] = {"name": node.name, "op": node.op}
    lists = (("inputs", node.inputs), ("parameters", node.parameters))
    row |= {"module": node.module} if node.module else {}
    row |= {"attributes": dict(node.attributes)} if node.attributes else {}
    row |= {key: value for key, value in lists if value}
    return json.dumps(row if node.shape is None else row | {"shape": node.shape})


def _port(row: dict[str, Any]) -> Port:
    dtype, value = (None if row.get(key) is None else _text(row[key]) for key in ("dtype", "value"))
    return Port(_text(row["name"]), dtype, _shape(row), value)


def _node(row: dict[str, Any]) -> Node:
    return Node(
        _text(row["name"]),
        _text(row["op"]),
        _text(row.get("module", "")),
        _attributes(row.get("attributes", {})),
        tuple(map(_text, row.get("inputs", ()))),
        tuple((_text(role), _text(name)) for role, name in row.get("parameters", ())),
        _shape(row),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _attributes(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise TypeError
    return tuple((key, _text(text)) for key, text in value.items())


def _shape(row: dict[str, Any]) -> tuple[int | str | None, ...] | None:
    shape = row.get("shape")
    if shape is None:
        return None
    if not all(type(extent) in (int, str, type(None)) for extent in shape):
        raise TypeError
    return tuple(shape)


class _Lines:
    """The lines of a text, taken one by one, each held against the one way to write it."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0
        self._number = 0

    def next(self) -> str:
        """Return the next line; past the last one there is "" for ever."""
        end = self._text.find(b"\n", self._at, self._at + MAX_GRAPH_LINE_NBYTES + 1)
        if end < 0:
            if len(self._text) - self._at > MAX_GRAPH_LINE_NBYTES:
                raise malformed(f"line {self._number + 1} of the graph is too long")
            end = len(self._text)
        line, self._at = self._text[self._at : end], end + 1
        self._number += 1
        try:
            return line.decode("ascii")
        except UnicodeDecodeError as exc:
            raise self.wrong() from exc

    def expect(self, line: str) -> None:
        """Take a line that has to be this one."""
        if self.next() != line:
            raise self.wrong()

    def expect_end(self) -> None:
        """Hold that nothing follows, and that the last line had its end."""
        if self._at != len(self._text):
            self._number += 1
            raise self.wrong()

    def value(self, key: str) -> Any:
        """Take the line of a key and return its value."""
        line = self.next()
        if not line.startswith(key):
            raise self.wrong()
        value = self._parsed(line.removeprefix(key).removesuffix(","))
        if f"{key}{json.dumps(value)}," != line:
            raise self.wrong()
        return value

    def rows(
        self, title: str, read: Callable[[dict[str, Any]], T], write: Callable[[T], str], *, last: bool = False
    ) -> Iterator[T]:
        """Take a list, yielding what `read` makes of each row, which `write` has to write as it is written."""
        self.expect(f'"{title}": [')
        count, more = 0, True
        while (line := self.next()) != ("]" if last else "],"):
            if not more or count == MAX_GRAPH_NODES:
                raise self.wrong()
            count, more, bare = count + 1, line.endswith(","), line.removesuffix(",")
            try:
                row = read(self._parsed(bare))
            except (TypeError, ValueError, KeyError, AttributeError) as exc:
                raise self.wrong() from exc
            if write(row) != bare:
                raise self.wrong()
            yield row
        if count and more:
            raise self.wrong()

    def _parsed(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise self.wrong() from exc

    def wrong(self) -> FormatError:
        """Return the error for the line that was taken last."""
        return malformed(f"line {self._number} of the graph is not as lamella writes it")
