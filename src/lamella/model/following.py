"""What weights do not say, told by what is around it: layers follow their blocks, and at last their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator

from lamella.model.alignment import BLOCK, NAME, ORDER
from lamella.model.layers import Layer, role
from lamella.model.ledger import ALIKE, SOMEWHAT, Ledger, by_key
from lamella.model.matching import pair_layer_units, pair_siblings, pair_tensor_units
from lamella.model.side import Side
from lamella.model.tensor_names import steps


class Surroundings:
    """Where a layer would be now, if it went with the blocks around it and was renamed as its like were."""

    def __init__(self, ledger: Ledger) -> None:
        self._before, self._after = ledger.before, ledger.after
        self.blocks = ledger.block_pairs()
        self._is_stacked = not ledger.before.blocks.isdisjoint(self.blocks)
        self._came_from = {after: before for before, after in self.blocks.items()}
        self._renamed: dict[str, Counter[str]] = {}
        for old, new in ledger.layer_pairs().items():
            one, other = ledger.before.layers[old], ledger.after.layers[new]
            block = self.block_of(one)
            within = self.blocks.get(block, "")
            if within in other.blocks or not block:
                self._renamed.setdefault(one.name[len(block) :], Counter())[other.name[len(within) :]] += 1

    def block_of(self, layer: Layer) -> str:
        """Return the innermost block around a layer of which it is known what it became, or ""."""
        return next((block for block in reversed(layer.blocks) if block in self.blocks), "")

    def where(self, side: Side, layer: Layer) -> str | None:
        """Return what the innermost known block around a layer is called now, "" outside of all blocks.

        None is returned in a block of which nobody knows what it became, or was: it may be gone, or new.
        """
        known = self._came_from if side is self._after else self.blocks
        block = next((block for block in reversed(layer.blocks) if block in known), None)
        if block is None:
            return None if self._is_stacked and side.blocks.intersection(layer.blocks) else ""
        return block if side is self._after else self.blocks[block]

    def names(self, layer: Layer) -> Iterator[str]:
        """Yield what a layer may be called now, the likeliest first."""
        block = self.block_of(layer)
        rest = layer.name[len(block) :]
        if not block and any(one in self._came_from for one in layer.blocks):
            return  # the block of that name is another one now
        within = self.blocks.get(block, "")
        yield within + rest
        for renamed, _ in self._renamed.get(rest, Counter()).most_common(1):
            yield within + renamed


def follow(ledger: Ledger) -> None:
    """Pair layers of the same kinds that are where their blocks went, or that have kept their name.

    A pair whose weights say that it is none is entered last, and with little confidence.
    """
    surroundings = Surroundings(ledger)
    unlike = list(_follow_names(ledger, surroundings))
    _follow_weights(ledger, surroundings)
    _follow_order(ledger, surroundings)
    for old, new in unlike:
        if not _is_entered(ledger, old, new):
            ledger.join(old, new, NAME)


def _follow_weights(ledger: Ledger, surroundings: Surroundings) -> None:
    """Pair what says too little among all, but enough in its own block; then the same outside of all blocks."""

    def layers_within(side: Side, layer: int) -> Hashable:
        where = surroundings.where(side, side.layers[layer])
        return None if where is None else (where, side.layers[layer].kinds)

    def tensors_within(side: Side, tensor: int) -> Hashable:
        where = surroundings.where(side, side.layers[side.layer_of[tensor]])
        return None if where is None else (where, side.kinds[tensor])

    pair_layer_units(ledger, layers_within, ALIKE, vectors=True)
    pair_siblings(ledger)
    pair_tensor_units(ledger, tensors_within, ALIKE, vectors=True)


def _follow_names(ledger: Ledger, surroundings: Surroundings) -> Iterator[tuple[int, int]]:
    """Pair layers by their names within blocks; yield those whose weights are not alike."""
    news = {ledger.after.layers[layer].name: layer for layer in ledger.open_layers(ledger.after)}
    for old in ledger.open_layers(ledger.before):
        layer = ledger.before.layers[old]
        for name in surroundings.names(layer):
            new = news.get(name)
            if new is None or ledger.after.layers[new].kinds != layer.kinds or _is_entered(ledger, old, new):
                continue
            if _is_unlike(ledger, old, new):
                yield old, new
            else:
                ledger.join(old, new, NAME)


def _follow_order(ledger: Ledger, surroundings: Surroundings) -> None:
    """Pair layers that say nothing with those of the same kinds in the same block, if there are as many there.

    Layers of a block of which nobody knows what became of it are left: it may be gone. Outside of blocks there is no
    order, and only the one layer of its kinds is what the one layer of these kinds became.
    """
    olds, news = (_by_place(ledger, side, surroundings) for side in (ledger.before, ledger.after))
    for where, layers in olds.items():
        others, within = news.get(where, []), where[0]
        if len(layers) != len(others) or (len(layers) > 1 and not within):
            continue
        if not any(_says(ledger.before, layer) for layer in layers):
            for old, new in zip(layers, others, strict=True):
                ledger.join(old, new, BLOCK if within else ORDER)


def _by_place(ledger: Ledger, side: Side, surroundings: Surroundings) -> dict[tuple[str, Hashable], list[int]]:
    """Return the open layers by their kinds and by what the innermost block around them became."""
    groups: dict[tuple[str, Hashable], list[int]] = {}
    for number in ledger.open_layers(side):
        where = surroundings.where(side, side.layers[number])
        if where is not None:
            groups.setdefault((where, side.layers[number].kinds), []).append(number)
    return groups


def _says(side: Side, layer: int) -> bool:
    return bool(side.weights[list(side.layers[layer].tensors)].any())


def _is_unlike(ledger: Ledger, old: int, new: int) -> bool:
    """Say whether two layers of the same kinds both say something, and the tensor with most values something else."""
    pairs = list(zip(ledger.before.layers[old].tensors, ledger.after.layers[new].tensors, strict=True))
    heaviest = max(pairs, key=lambda pair: ledger.before.values[pair[0]])
    similarity = ledger.similarity(*heaviest)
    return similarity is not None and similarity < SOMEWHAT


def _is_entered(ledger: Ledger, old: int, new: int) -> bool:
    return any(tensor in ledger.found for tensor in ledger.before.layers[old].tensors) or any(
        tensor in ledger.taken for tensor in ledger.after.layers[new].tensors
    )


def pair_recast(ledger: Ledger) -> None:
    """Pair tensors of one shape and place whose dtypes are of other families, as quantisation leaves them."""
    surroundings, layers = Surroundings(ledger), ledger.layer_pairs()
    named = {layer.name: number for number, layer in enumerate(ledger.after.layers)}
    for old in ledger.open_before(range(len(ledger.before.specs))):
        number = ledger.before.layer_of[old]
        names = (named[name] for name in surroundings.names(ledger.before.layers[number]) if name in named)
        spec = ledger.before.specs[old]
        for place in [layers[number]] if number in layers else names:
            partners = [
                new
                for new in ledger.open_after(ledger.after.layers[place].tensors)
                if ledger.after.specs[new].shape == spec.shape and role(ledger.after.specs[new]) == role(spec)
            ]
            if partners:
                ledger.judge(old, partners[0], NAME)
                break


def pair_copies(ledger: Ledger) -> None:
    """Pair what is left of one content in its order, if there is as much of it, and a side is a mere list of tensors.

    Where both have modules, these would have told which is which.
    """

    def groups(side: Side, tensors: list[int]) -> dict[Hashable, list[int]]:
        return by_key(tensors, lambda tensor: (side.kinds[tensor], side.contents[tensor]))

    def is_list(side: Side, tensors: list[int]) -> bool:
        return all(len(steps(side.names[tensor])) == 1 for tensor in tensors)

    news = groups(ledger.after, ledger.open_after(range(len(ledger.after.specs))))
    for what, olds in groups(ledger.before, ledger.open_before(range(len(ledger.before.specs)))).items():
        others = news.get(what, [])
        if len(olds) == len(others) and (is_list(ledger.before, olds) or is_list(ledger.after, others)):
            for old, new in zip(olds, others, strict=True):
                ledger.judge(old, new, ORDER)
