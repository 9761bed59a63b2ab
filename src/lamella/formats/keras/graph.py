"""The layers of a Keras model and what feeds what, as its configuration tells them; nothing of it is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lamella.core.graph_builder import GraphBuilder, too_large
from lamella.core.graphs import LAYERS, Extent, Graph, Node
from lamella.core.limits import MAX_GRAPH_NODES, MAX_GRAPH_PARTS
from lamella.formats.keras.calls import Call, Place, arguments_of, calls_of, ends_of
from lamella.formats.keras.config import dict_in, listed_layers, text_in
from lamella.formats.keras.settings import dtype_name, setting_text, shape_of

_MAX_DEPTH = 64
_MAX_STEPS = 64
"""Models in models, and steps of a tensor's path that are looked at."""

_MAX_LABELS_LENGTH = 16_000_000
"""Paths and names of layers, all together: those of layers in models repeat what these are called."""

_INPUT = "InputLayer"
_PLUMBING = frozenset({"name", "layers", "input_layers", "output_layers", "batch_shape", "batch_input_shape"})
"""Settings of a layer that the graph says otherwise."""

Entry = Mapping[str, Any]


def config_graph(config: Entry, tensors: Iterable[tuple[str, str]], *, by_path: bool) -> Graph | None:
    """Return the graph of a Sequential or Functional model; None of other models, and where there is no configuration.

    `tensors` are pairs of a place and the name of a tensor; the place is the path of the HDF5 file where `by_path`, and
    begins with the label of the layer where not. Raises FormatError (header-too-large).
    """
    if not isinstance(dict_in(config, "config").get("layers"), list):
        return None
    return _Reading(by_path=by_path).read(config, tensors)


@dataclass(slots=True)
class _Call:
    """One use of a layer: the node that stands for it, or the model that it is."""

    entry: Entry
    key: str
    name: str
    given: list[Place]
    texts: list[tuple[str, str]]
    model: _Model | None = None


@dataclass(slots=True)
class _Model:
    """One use of a model: the calls of its layers by name and number, its input layers and its outputs."""

    label: str
    calls: dict[tuple[str, int], _Call] = field(default_factory=dict)
    inputs: list[tuple[str, Place]] = field(default_factory=list)
    outputs: list[tuple[str, Place]] = field(default_factory=list)

    def reference(self, place: Place) -> str:
        """Return the reference to a value in this model, "" where nothing makes it."""
        model, call = self, self.calls.get(place[:2])
        while call is not None and call.model is not None:
            model = call.model
            place = model.outputs[place[2]][1] if place[2] < len(model.outputs) else ("", 0, 0)
            call = model.calls.get(place[:2])
        if call is None:
            return ""
        return f"{call.name}:{place[2]}" if place[2] and not call.name.startswith("@") else call.name


class _Reading:
    """One way through a configuration."""

    def __init__(self, *, by_path: bool) -> None:
        self._by_path = by_path
        self._builder = GraphBuilder(LAYERS, "keras")
        self._left = MAX_GRAPH_NODES
        self._arguments_left = MAX_GRAPH_PARTS
        self._room = _MAX_LABELS_LENGTH
        self._labels: dict[str, str] = {}
        self._attributes: dict[int, tuple[tuple[str, str], ...]] = {}
        self._calls: dict[int, list[Call]] = {}
        self._told: dict[int, list[tuple[Place, tuple[Extent, ...] | None, str | None]]] = {}

    def read(self, config: Entry, tensors: Iterable[tuple[str, str]]) -> Graph:
        """Return the graph of a model."""
        model = self._declare(config, "", "", "", 0)
        owned = self._owned(tensors)
        self._add(model, {}, owned)
        types = self._types(model)
        for name, place in model.outputs:
            shape, dtype = types.get(place, (None, None))
            self._builder.add_output(name, model.reference(place) or None, dtype, shape)
        return self._builder.build()

    def _declare(self, entry: Entry, path: str, label: str, shown: str, depth: int) -> _Model:
        """Return a use of the model `entry`; names of nodes in it begin with `shown`, which tells uses apart."""
        settings = dict_in(entry, "config")
        model = _Model(shown)
        sequential = "input_layers" not in settings
        before = ""
        start, start_label = (f"{one}/" if one else "" for one in (shown, label))
        for child_path, name, child in listed_layers(path, entry):
            self._room -= len(child_path) + len(shown) + 2 * len(name)
            key = child_path if self._by_path else start_label + name
            self._labels[key] = start_label + name
            calls = [([(before, 0, 0)] if before else [], [])] if sequential else self._calls_of(child)
            for number, (given, texts) in enumerate(calls or [([], [])]):
                self._left -= 1
                if self._left < 0 or self._room < 0:
                    raise too_large()
                self._arguments_left -= len(given) + len(texts)
                if self._arguments_left < 0:
                    raise too_large()
                call = _Call(child, key, "", given, texts)
                called = f"{start}{name}#{number + 1}" if number else start + name
                if isinstance(dict_in(child, "config").get("layers"), list) and depth < _MAX_DEPTH:
                    call.model = self._declare(child, child_path, start_label + name, called, depth + 1)
                elif text_in(child, "class_name") == _INPUT and not depth:
                    call.name = self._builder.add_input(name, *_input_type(dict_in(child, "config")))
                else:
                    call.name = self._builder.name(called)
                model.calls[name, number] = call
            before = name
        self._connect(model, settings, before)
        return model

    def _connect(self, model: _Model, settings: Entry, last: str) -> None:
        """Find the inputs and outputs of a model."""
        if "input_layers" in settings:
            model.inputs = ends_of(settings["input_layers"])
            model.outputs = ends_of(settings.get("output_layers"))
        elif model.calls:
            (first, _), call = next(iter(model.calls.items()))
            if text_in(call.entry, "class_name") == _INPUT:
                model.inputs = [(first, (first, 0, 0))]
            elif not model.label:
                shape = shape_of(_first_shape(dict_in(call.entry, "config"), settings))
                given = ("", 0, 0)
                model.calls["", 0] = _Call({}, "", self._builder.add_input("input", None, shape), [], [])
                call.given = [given]
            model.outputs = [(last, (last, 0, 0))]

    def _add(self, model: _Model, given: Mapping[Place, str], owned: Mapping[str, tuple[tuple[str, str], ...]]) -> None:
        """Take the nodes of a model, whose input layers are `given` these values."""
        types = self._types(model)
        for (name, number), call in model.calls.items():
            inputs = tuple(map(model.reference, call.given))
            if not number and (name, 0, 0) in given:
                inputs = (given[name, 0, 0],)
            if call.model is not None:
                places = [place for _, place in call.model.inputs] or _first_place(call.model)
                self._add(call.model, dict(zip(places, inputs, strict=False)), owned)
            elif not call.name.startswith("@"):
                shape = types.get((name, number, 0), (None, None))[0]
                attributes = (*self._settings(call.entry), *call.texts)
                op = text_in(call.entry, "registered_name")
                op = op if ">" in op else text_in(call.entry, "class_name") or "?"
                module = model.label.replace("/", ".")
                self._builder.add(Node(call.name, op, module, attributes, inputs, owned.get(call.key, ()), shape))

    def _types(self, model: _Model) -> dict[Place, tuple[tuple[Extent, ...] | None, str | None]]:
        """Return shape and dtype of the values of a model, as far as the arguments of calls tell them."""
        found: dict[Place, tuple[tuple[Extent, ...] | None, str | None]] = {}
        for (_, number), call in model.calls.items():
            if not number and id(call.entry) not in self._told:
                told = [(place, shape_of(shape), dtype_name(dtype)) for place, shape, dtype in arguments_of(call.entry)]
                self._told[id(call.entry)] = told
            for place, shape, dtype in self._told[id(call.entry)] if not number else ():
                found[place] = shape, dtype
        return found

    def _calls_of(self, entry: Entry) -> list[Call]:
        """Return the calls of a layer, read once for all uses of the model that it is in."""
        if id(entry) not in self._calls:
            self._calls[id(entry)] = calls_of(entry)
        return self._calls[id(entry)]

    def _settings(self, entry: Entry) -> tuple[tuple[str, str], ...]:
        """Return what a layer was made with, as attributes."""
        known = self._attributes.get(id(entry))
        if known is None:
            settings = dict_in(entry, "config")
            known = tuple(
                (key, (dtype_name(value) or "?") if key == "dtype" else setting_text(value))
                for key, value in settings.items()
                if key not in _PLUMBING and value is not None and (key, value) != ("trainable", True)
            )
            self._attributes[id(entry)] = known
        return known

    def _owned(self, tensors: Iterable[tuple[str, str]]) -> dict[str, tuple[tuple[str, str], ...]]:
        """Return the tensors of each layer with what they are called in it."""
        found: dict[str, list[tuple[str, str]]] = {}
        for place, name in tensors:
            key = place
            for _ in range(_MAX_STEPS):
                key = key.rpartition("/")[0]
                if not key or key in self._labels:
                    break
            if key in self._labels:
                start = self._labels[key] + "/"
                role = name.removeprefix(start) if name.startswith(start) else place.rpartition("/")[2]
                found.setdefault(key, []).append((role, name))
        return {key: tuple(sorted(pairs)) for key, pairs in found.items()}


def _input_type(settings: Entry) -> tuple[str | None, tuple[Extent, ...] | None]:
    return dtype_name(settings.get("dtype")), shape_of(_first_shape(settings, {}))


def _first_shape(settings: Entry, around: Entry) -> Any:
    return settings.get("batch_shape") or settings.get("batch_input_shape") or around.get("build_input_shape")


def _first_place(model: _Model) -> Iterator[Place]:
    """Yield the value that the first layer of a Sequential model without an input layer makes."""
    for name, number in model.calls:
        yield name, number, 0
        return
