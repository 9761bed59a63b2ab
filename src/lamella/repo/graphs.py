"""The computation graph of a model: recorded beside it, described in its file, or shown by the names of its tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lamella.core.errors import FormatError
from lamella.core.fsio import translated
from lamella.core.graphs import Graph, Node
from lamella.core.limits import MAX_GRAPH_FILE_NBYTES
from lamella.model.graph_names import names_graph
from lamella.model.graph_text import parse_graph
from lamella.repo.joined_model import Model
from lamella.repo.manifest import naming
from lamella.repo.model_file import ModelFile
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.targets import relative_to_root
from lamella.repo.weight_map import SUFFIX as INDEX_SUFFIX

SUFFIX = ".graph.json"
OF_FOLDER = f"model{SUFFIX}"
"""The name of the graph of a folder, and of a model that an index divides into shards."""


def graph_name(file: str) -> str:
    """Return the name of the file in which the graph of the model `file` is recorded, in the same folder."""
    return OF_FOLDER if file.endswith(INDEX_SUFFIX) else f"{os.path.splitext(file)[0]}{SUFFIX}"


def graph_path(where: Path) -> Path:
    """Return where the graph of the model file, or of the folder, `where` is recorded."""
    return where / OF_FOLDER if where.is_dir() else where.with_name(graph_name(where.name))


def recorded_graph(text: str, directory: Path, environment: Mapping[str, str] | None = None) -> Graph | None:
    """Return the graph recorded beside the model that `text` names as for `targets.opened_model`, None where none is.

    Raises FormatError where one is and is no graph.
    """
    where = directory / text
    if os.path.lexists(where):
        return recorded_on_disk(where)
    with Repository.open(directory, environment=environment) as repository:
        return recorded_at(repository, *relative_to_root(repository, text))


def recorded_on_disk(where: Path) -> Graph | None:
    """Return the graph recorded beside the file or in the folder `where`; raise as `recorded_graph` does."""
    path = graph_path(where)
    with translated(path, reading=True):
        if not path.is_file():
            return None
        with path.open("rb") as file:
            text = file.read(MAX_GRAPH_FILE_NBYTES + 1)
    with naming(os.fspath(path)):
        return parse_graph(text)


def recorded_at(repository: Repository, revision: str, path: str) -> Graph | None:
    """Return the graph recorded for a file or folder at a revision, "" being Git's index; raise as `recorded_graph`.

    `path` is relative to the root, which is "" itself.
    """
    path = "" if os.path.normpath(path) == "." else path.rstrip("/")
    prefix = f"{revision or ':0'}:"
    with repository.reader() as reader:
        folder, name = os.path.split(path)
        is_file = path.endswith(INDEX_SUFFIX) or (path and manifest_at(reader, f"{prefix}{path}") is not None)
        recorded = os.path.join(folder, graph_name(name)) if is_file else os.path.join(path, OF_FOLDER)
        found = reader.read(f"{prefix}{recorded}")
    if found is None or found.type != "blob":
        return None
    with naming(f"{revision}:{recorded}"):
        if found.data is None:
            raise FormatError("it is too large for a graph", kind="graph-malformed")
        return parse_graph(found.data)


def graph_of_model(model: Model, recorded: Graph | None = None) -> Graph:
    """Return the graph of a model: the one that is `recorded` for it, else that of its file, else what names show.

    Its parameters are called as the model calls its tensors. Of several files that each describe a graph, as those of a
    pipeline do, none is that of the model. Raises FormatError where a file describes one that is larger than is read.
    """
    if recorded is not None:
        return recorded
    described = [(file, graph) for file in model.files if (graph := file.graph()) is not None]
    if len(described) == 1:
        return _named_as_in(model, *described[0])
    return graph_of_names(model)


def graph_of_names(model: Model) -> Graph:
    """Return what the names of a model's tensors show."""
    return names_graph(model.spec(name) for name in model.names)


def comparable_graphs(before: Model, of_before: Graph, after: Model, of_after: Graph) -> tuple[Graph, Graph]:
    """Return the graphs of two models, or what names show of both where those do not speak of the same things."""
    if (of_before.level, of_before.source) == (of_after.level, of_after.source):
        return of_before, of_after
    return graph_of_names(before), graph_of_names(after)


def _named_as_in(model: Model, file: ModelFile, graph: Graph) -> Graph:
    """Return a graph in which tensors that another file also has a name for are called by the file's path too."""
    others = {name for name in file.specs if name not in model.names}
    if not others:
        return graph

    def named(node: Node) -> Node:
        pairs = ((role, f"{file.path}/{name}" if name in others else name) for role, name in node.parameters)
        return replace(node, parameters=tuple(pairs))

    return replace(graph, nodes=tuple(map(named, graph.nodes)))
