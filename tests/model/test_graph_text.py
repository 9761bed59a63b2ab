"""The text of a graph: there and back, a line a node, and everything else refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core import limits
from lamella.core.errors import FormatError
from lamella.core.graphs import LAYERS, Graph, Node, Port
from lamella.model import graph_text
from lamella.model.graph_text import parse_graph, write_graph
from tests.model.graphs import graphs

SMALL = Graph(
    LAYERS,
    "keras",
    (Port("x", "f32", ("batch", 4)),),
    (Port("y", "f32", ("batch", None), "out"),),
    (
        Node("hidden", "Dense", "", (("units", "8"),), ("@x",), (("kernel", "hidden/kernel"),), ("batch", 8)),
        Node("out", "Softmax", "top", (), ("hidden",), (), ()),
    ),
    (("format", "1"),),
)
TEXT = write_graph(SMALL).decode()


@given(graphs())
def test_a_graph_comes_back_from_its_text(graph):
    text = write_graph(graph)
    assert parse_graph(text) == graph
    assert write_graph(parse_graph(text)) == text


@given(graphs())
def test_the_text_is_json_with_a_line_for_each_node(graph):
    text = write_graph(graph)
    assert [node["name"] for node in json.loads(text)["nodes"]] == [node.name for node in graph.nodes]
    assert text.count(b"\n") == 12 + len(graph.inputs) + len(graph.outputs) + len(graph.nodes)
    assert text.isascii()


def test_what_is_not_known_is_left_out():
    assert '{"name": "x", "dtype": "f32", "shape": ["batch", 4]}' in TEXT
    assert '{"name": "out", "op": "Softmax", "module": "top", "inputs": ["hidden"], "shape": []}' in TEXT


@given(st.data())
def test_a_text_with_a_byte_changed_is_refused_or_is_another_graph(data):
    place = data.draw(st.integers(0, len(TEXT) - 1))
    changed = bytearray(TEXT.encode())
    changed[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != changed[place]))
    try:
        found = parse_graph(bytes(changed))
    except FormatError as error:
        assert error.kind in ("graph-malformed", "graph-version", "name-duplicate")
    else:
        assert found != SMALL
        assert write_graph(found) == bytes(changed)


@given(st.integers(0, len(TEXT) - 1))
def test_a_text_that_is_cut_is_refused(length):
    with pytest.raises(FormatError) as caught:
        parse_graph(TEXT[:length].encode())
    assert caught.value.kind in ("graph-malformed", "graph-version")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"units": "8"', '"units": 8'),
        ('"units": "8"', '"units": "8", "units": "8"'),
        ('{"name": "hidden", "op"', '{"op": "Dense", "name": "hidden", "op"'),
        ('["batch", 8]', '["batch", 8.0]'),
        ('["batch", 8]', '["batch", true]'),
        ('["batch", 8]', '["batch", -8]'),
        ('["batch", 8]', '"ab"'),
        ('["batch", 8]', str([1] * 65)),
        ('["hidden"]', '["hiding"]'),
        ('["@x"]', '["@z"]'),
        ('"value": "out"', '"value": "nothing"'),
        ('"value": "out"', '"value": ["out"]'),
        ('"dtype": "f32", "shape": ["batch", 4]', '"dtype": "f32", "shape": ["batch", 4], "value": "out"'),
        ('"level": "layers"', '"level": "words"'),
        ('"source": "keras"', '"source": null'),
        ('"attributes": {"format": "1"}', '"attributes": ["format"]'),
        ('"attributes": {"format": "1"}', '"attributes": {"format": "1", "a": "1"}'),
        ('"module": "top", ', '"module": "", '),
        ('"module": "top", ', '"modul": "top", '),
        (': "Dense"', ':"Dense"'),
        ("},\n", "}\n"),
        ("}\n]\n", "},\n]\n"),
        ("}\n]\n", "}\n]\n}\n"),
        ("\n", "\r\n"),
        ("keras", "kéras"),
        ('"8"', "[" * 60_000),
        ('"8"', "9" * 5_000),
    ],
)
def test_what_lamella_does_not_write_is_refused(before, after):
    changed = TEXT.replace(before, after)
    assert changed != TEXT
    with pytest.raises(FormatError) as caught:
        parse_graph(changed.encode())
    assert caught.value.kind == "graph-malformed"


@pytest.mark.parametrize("version", ["2", "1.0", "true", '"1"', "null"])
def test_another_version_is_refused_with_a_hint(version):
    with pytest.raises(FormatError) as caught:
        parse_graph(TEXT.replace('"lamella graph": 1', f'"lamella graph": {version}').encode())
    assert (caught.value.kind, caught.value.hint) == ("graph-version", "upgrade lamella")


def test_the_line_that_is_wrong_is_named():
    with pytest.raises(FormatError, match=r"^line 14 of the graph is not as lamella writes it$"):
        parse_graph(TEXT.replace('"Softmax"', "Softmax").encode())


@pytest.mark.parametrize("name", ["", "@x", "a:1"])
def test_a_node_whose_name_reads_as_a_reference_is_refused(name):
    with pytest.raises(FormatError) as caught:
        write_graph(replace(SMALL, nodes=(*SMALL.nodes, Node(name, "Relu"))))
    assert caught.value.kind == "graph-malformed"


@pytest.mark.parametrize(
    "twice",
    [
        replace(SMALL, nodes=(*SMALL.nodes, SMALL.nodes[0])),
        replace(SMALL, inputs=SMALL.inputs * 2),
        replace(SMALL, outputs=SMALL.outputs * 2),
    ],
)
def test_a_name_that_is_there_twice_is_refused(twice):
    with pytest.raises(FormatError) as caught:
        write_graph(twice)
    assert caught.value.kind == "name-duplicate"


def test_what_is_too_large_is_neither_written_nor_read(monkeypatch):
    monkeypatch.setattr(graph_text, "MAX_GRAPH_FILE_NBYTES", len(TEXT))
    assert parse_graph(write_graph(SMALL)) == SMALL
    longer = replace(SMALL, source="keras3")
    for refused in (lambda: write_graph(longer), lambda: parse_graph(TEXT.replace("keras", "keras3").encode())):
        with pytest.raises(FormatError, match="too large"):
            refused()


def test_a_long_line_is_neither_written_nor_read():
    node = Node("a", "x" * limits.MAX_GRAPH_LINE_NBYTES)
    with pytest.raises(FormatError, match="too long"):
        write_graph(replace(SMALL, nodes=(node,), outputs=()))
    with pytest.raises(FormatError, match="line 13 of the graph is too long"):
        parse_graph(TEXT.replace("Dense", "D" * limits.MAX_GRAPH_LINE_NBYTES).encode())
