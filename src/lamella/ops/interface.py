"""What whoever uses a model has to know: inputs, outputs, vocabulary, classes, context, and how they changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lamella.model.difference import TensorDifference
from lamella.model.graph_difference import GraphDifference
from lamella.ops.comparison import InterfaceChange

_KEYS = {
    "vocab_size": "vocabulary",
    "num_labels": "classes",
    "num_classes": "classes",
    "id2label": "classes",
    "context_length": "context",
    "max_position_embeddings": "context",
    "n_positions": "context",
    "tokenizer.ggml.tokens": "vocabulary",
    "tokenizer.ggml.model": "vocabulary",
}
"""What files say beside their tensors, by the end of the key, under the names that GGUF and transformers use."""

_EMBEDDINGS = ("wte", "word_embeddings", "embed_tokens", "tok_embeddings", "token_embd", "token_embedding", "shared")
_HEADS = ("lm_head", "classifier", "score", "head", "fc", "predictions", "logits", "out_proj", "output")
"""What the layers are called, in the common families of models, that turn tokens into vectors and vectors into
answers."""


def interface_changes(
    graph: GraphDifference | None,
    tensors: Iterable[TensorDifference],
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> tuple[InterfaceChange, ...]:
    """Return what changed at the edge of a model, from its graphs, from what its file says, and from its weights.

    `before` and `after` are the metadata of the files. A vocabulary or a number of classes that grew is seen in the
    first extent of the layers that families of models call by certain names, so it is found without any graph.
    """
    ports = () if graph is None else graph.interface
    found = [InterfaceChange(port.side, port.name, port.before, port.after) for port in ports]
    found += _said(before, after)
    found += _shown(tensors)
    return tuple(dict.fromkeys(found))


def _said(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[InterfaceChange]:
    for key in {**before, **after}:
        what = next((what for end, what in _KEYS.items() if key == end or key.endswith(f".{end}")), None)
        if what is not None and before.get(key) != after.get(key):
            yield InterfaceChange(what, key, before.get(key), after.get(key))


def _shown(tensors: Iterable[TensorDifference]) -> Iterator[InterfaceChange]:
    for one in tensors:
        earlier, later = one.before.shape, one.after.shape
        if len(earlier) < 2 or len(later) != len(earlier) or earlier[0] == later[0]:
            continue
        parts = one.after.name.replace("/", ".").split(".")
        what = "vocabulary" if set(parts) & set(_EMBEDDINGS) else "outputs" if set(parts[-2:]) & set(_HEADS) else ""
        if what:
            yield InterfaceChange(what, one.after.name, f"{earlier[0]:,} rows", f"{later[0]:,} rows")
