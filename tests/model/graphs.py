"""Graphs for tests, and strategies for any graph."""

from __future__ import annotations

from hypothesis import strategies as st

from lamella.core.graphs import LAYERS, NAMES, OPERATORS, Graph, Node, Port

_texts = st.text(max_size=8)
_shapes = st.none() | st.lists(st.none() | st.integers(0, 1 << 40) | _texts, max_size=4).map(tuple)
_attributes = st.dictionaries(_texts, _texts, max_size=3).map(lambda found: tuple(sorted(found.items())))


@st.composite
def graphs(draw) -> Graph:
    """Return any graph that is well-formed, cycles and dead ends among them."""
    names = draw(st.lists(st.text(min_size=1, max_size=6).filter(_plain), unique=True, max_size=8))
    ports = draw(st.lists(_texts, unique=True, max_size=3))
    references = [f"@{name}" for name in ports] + names + [f"{name}:1" for name in names] + [""]
    inputs = st.lists(st.sampled_from(references), max_size=3).map(tuple)
    parameters = st.lists(st.tuples(_texts, _texts), max_size=2).map(tuple)
    nodes = [
        Node(name, draw(_texts), draw(_texts), draw(_attributes), draw(inputs), draw(parameters), draw(_shapes))
        for name in names
    ]
    values = st.none() | st.sampled_from(references[:-1]) if len(references) > 1 else st.none()
    ends = draw(st.lists(_texts, unique=True, max_size=3))
    return Graph(
        draw(st.sampled_from((NAMES, LAYERS, OPERATORS))),
        draw(_texts),
        tuple(Port(name, draw(st.none() | _texts), draw(_shapes)) for name in ports),
        tuple(Port(name, draw(st.none() | _texts), draw(_shapes), draw(values)) for name in ends),
        tuple(nodes),
        draw(_attributes),
    )


def _plain(name: str) -> bool:
    return not name.startswith("@") and ":" not in name
