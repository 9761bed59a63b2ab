"""Recording the computation graph of a model beside it."""

from __future__ import annotations

from pathlib import Path

from lamella.core.fsio import write_file
from lamella.core.graphs import Graph
from lamella.model.graph_text import write_graph
from lamella.repo.graphs import graph_path


def save_graph(graph: Graph, model: str | Path) -> Path:
    """Write a graph beside the file of a model, or into its folder, replacing the one that is there; return its path.

    That of `model.safetensors` is `model.graph.json`, and need not be there yet itself. Raises FormatError for a graph
    that is not sound or too large, BackendError where it cannot be written.
    """
    path = graph_path(Path(model))
    write_file(path, write_graph(graph))
    return path
