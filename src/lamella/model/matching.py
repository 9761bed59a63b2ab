"""The steps of an alignment that look at weights: equal content, names held against weights, blocks, assignment."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from math import sqrt

from lamella.model.alignment import BLOCK, CONTENT, NAME, WEIGHTS
from lamella.model.assignment import MOST_PARTS, Unit, assign, vectors
from lamella.model.layers import MOST_BLOCKS
from lamella.model.ledger import ALIKE, SOMEWHAT, Ledger, by_key
from lamella.model.side import LEAST_VALUES, Side
from lamella.model.sketch import BUCKETS

SURELY = 0.9
"""A layer of the same name whose weights are so much alike is the same one, whatever else is like it."""


def pair_content(ledger: Ledger) -> None:
    """Pair tensors whose bytes nothing else has, if they have the same dtype, and have the same name or say something.

    A vector of ones may be the only one on both sides and still be another one.
    """
    before, after = ledger.before, ledger.after
    where = {content: tensor for tensor, content in enumerate(after.contents) if after.copies[content] == 1}
    pairs = [
        (tensor, where[content])
        for tensor, content in enumerate(before.contents)
        if before.copies[content] == 1 and content in where
    ]
    pairs = [(old, new) for old, new in pairs if before.specs[old].dtype == after.specs[new].dtype]
    renamed = [(old, new) for old, new in pairs if before.names[old] != after.names[new]]
    before.load(old for old, _ in renamed)
    for old, new in pairs:
        same_name = before.names[old] == after.names[new] and before.values[old] >= LEAST_VALUES
        if same_name or before.weights[old]:
            ledger.pair(old, new, CONTENT, 1.0)


def pair_siblings(ledger: Ledger) -> None:
    """Pair what is left of layers that other tensors have paired."""
    for old, new in ledger.layer_pairs().items():
        ledger.join(old, new, NAME)


def pair_named(ledger: Ledger) -> None:
    """Pair layers of one name whose weights are surely alike."""
    news = {ledger.after.layers[layer].name: layer for layer in ledger.open_layers(ledger.after)}
    groups: dict[Hashable, list[tuple[int, int]]] = {}
    for old in ledger.open_layers(ledger.before):
        new = news.get(ledger.before.layers[old].name)
        if not ledger.before.weight(ledger.before.layers[old].tensors, vectors=False):
            continue
        if new is not None and ledger.before.layers[old].kinds == ledger.after.layers[new].kinds:
            groups.setdefault(ledger.before.layers[old].kinds, []).append((old, new))
    for pairs in groups.values():
        olds = vectors(ledger.before, [_layer_unit(ledger.before, old) for old, _ in pairs])
        cosines = (olds * vectors(ledger.after, [_layer_unit(ledger.after, new) for _, new in pairs])).sum(axis=1)
        for (old, new), cosine in zip(pairs, cosines, strict=True):
            if cosine >= max(SURELY, enough(ledger.before, _layer_unit(ledger.before, old))):
                ledger.join(old, new, NAME)


def enough(side: Side, unit: Unit) -> float:
    """Return which cosine is no accident, five standard deviations of that of strangers: of few values the more."""
    values = sum(side.values[tensor] for tensor in unit.tensors if side.weights[tensor])
    return max(ALIKE, min(0.95, 5 * sqrt(1 / BUCKETS + 1 / values))) if values else 2.0


def pair_blocks(ledger: Ledger) -> None:
    """Pair blocks of the same layers as units, the outermost first, and then their layers where these are alike."""
    for depth in range(MOST_BLOCKS):
        groups = [_by_structure(side, _blocks(ledger, side, depth), False) for side in (ledger.before, ledger.after)]
        for structure, olds in groups[0].items():
            news = groups[1].get(structure, [])
            for old, new, _ in assign(ledger.before, olds, ledger.after, news, _enough_together(ledger.before, olds)):
                _join_block(ledger, olds[old], news[new])


def _enough_together(side: Side, units: Sequence[Unit]) -> float:
    """Return which cosine of whole blocks is no accident: five standard deviations of that of strangers."""
    parts = min(MOST_PARTS, *(int((side.weights[list(unit.tensors)] > 0).sum()) for unit in units))
    return max(0.1, 5 / sqrt(BUCKETS * parts))


def _join_block(ledger: Ledger, old: Unit, new: Unit) -> None:
    for one, other in zip(old.layers, new.layers, strict=True):
        units = _layer_unit(ledger.before, one), _layer_unit(ledger.after, other)
        cosine = float((vectors(ledger.before, units[:1]) * vectors(ledger.after, units[1:])).sum())
        if cosine >= max(SOMEWHAT, enough(ledger.before, units[0]) / 2):
            same_name = ledger.before.layers[one].name == ledger.after.layers[other].name
            ledger.join(one, other, NAME if same_name else BLOCK)


def _blocks(ledger: Ledger, side: Side, depth: int) -> Iterator[tuple[Hashable, Unit]]:
    """Yield the blocks at a depth, two layers or more that are all open, with what other blocks have in common."""
    open_layers = set(ledger.open_layers(side))
    enclosed = [layer for layer, one in enumerate(side.layers) if len(one.blocks) > depth]
    for block, layers in by_key(enclosed, lambda layer: side.layers[layer].blocks[depth]).items():
        if len(layers) > 1 and open_layers.issuperset(layers):
            start = len(str(block))
            structure = tuple((side.layers[layer].name[start:], side.layers[layer].kinds) for layer in layers)
            tensors = tuple(tensor for layer in layers for tensor in side.layers[layer].tensors)
            yield structure, Unit(tensors, side.place(layers[0]), tuple(layers))


def _by_structure(side: Side, units: Iterable[tuple[Hashable, Unit]], vectors: bool) -> dict[Hashable, list[Unit]]:
    groups: dict[Hashable, list[Unit]] = {}
    for structure, unit in units:
        if side.weight(unit.tensors, vectors=vectors):
            groups.setdefault(structure, []).append(unit)
    return groups


def pair_alike(ledger: Ledger) -> None:
    """Pair layers of the same kinds by their weights, and then single tensors of one kind, each the best for all.

    Vectors are left: those of other blocks are too much alike.
    """
    pair_layer_units(ledger, lambda side, layer: side.layers[layer].kinds, ALIKE, vectors=False)
    pair_siblings(ledger)
    pair_tensor_units(ledger, lambda side, tensor: side.kinds[tensor], ALIKE, vectors=False)


def pair_layer_units(ledger: Ledger, key: Callable[[Side, int], Hashable], least: float, *, vectors: bool) -> None:
    """Pair open layers with one `key` by their weights, where the cosine is at the `least` that; None is no key."""

    def units(side: Side) -> Iterator[tuple[Hashable, Unit]]:
        for layer in ledger.open_layers(side):
            where = key(side, layer)
            if where is not None:
                yield where, _layer_unit(side, layer)

    for old, new in _pairs(ledger, units, least, vectors=vectors):
        same_name = ledger.before.layers[old.layers[0]].name == ledger.after.layers[new.layers[0]].name
        ledger.join(old.layers[0], new.layers[0], NAME if same_name else WEIGHTS)


def pair_tensor_units(ledger: Ledger, key: Callable[[Side, int], Hashable], least: float, *, vectors: bool) -> None:
    """Pair open tensors with one `key` by their weights, where the cosine is at the `least` that; None is no key."""

    def units(side: Side) -> Iterator[tuple[Hashable, Unit]]:
        opened = ledger.open_before if side is ledger.before else ledger.open_after
        for tensor in opened(range(len(side.specs))):
            where = key(side, tensor)
            if where is not None:
                yield where, Unit((tensor,), side.place(side.layer_of[tensor]), (side.layer_of[tensor],))

    for old, new in _pairs(ledger, units, least, vectors=vectors):
        same_name = ledger.before.names[old.tensors[0]] == ledger.after.names[new.tensors[0]]
        ledger.judge(old.tensors[0], new.tensors[0], NAME if same_name else WEIGHTS)


def _pairs(
    ledger: Ledger, units: Callable[[Side], Iterable[tuple[Hashable, Unit]]], least: float, *, vectors: bool
) -> Iterator[tuple[Unit, Unit]]:
    before, after = ledger.before, ledger.after
    groups = [_by_structure(side, list(units(side)), vectors) for side in (before, after)]
    for structure, olds in groups[0].items():
        news = groups[1].get(structure, [])
        for old, new, cosine in assign(before, olds, after, news, least):
            if cosine >= enough(before, olds[old]):
                yield olds[old], news[new]


def _layer_unit(side: Side, layer: int) -> Unit:
    return Unit(side.layers[layer].tensors, side.place(layer), (layer,))
