"""Which layer became which, and which of them moved: what to take out so that all others are in their old order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from lamella.model.alignment import LayerPair
from lamella.model.ledger import Ledger
from lamella.model.sequences import increasing


def pair_layers(ledger: Ledger) -> list[LayerPair]:
    """Return which layer became which, in the order of the model before, with what is said of its largest tensor."""
    before, after = ledger.before, ledger.after
    blocks = ledger.block_pairs()
    moved = moved_blocks(blocks)
    found = []
    for old, new in sorted(ledger.layer_pairs().items()):
        one, other = before.layers[old], after.layers[new]
        own = [tensor for tensor in one.tensors if _goes_to(ledger, tensor, new)]
        told = ledger.found[max(own, key=lambda tensor: (before.values[tensor], before.weights[tensor]))]
        has_moved = any(block in moved for block in one.blocks) or any(
            blocks.get(block, beside) != beside for block, beside in ledger.enclosing(old, new)
        )
        found.append(LayerPair(one.name, other.name, told.reason, round(told.confidence, 4), has_moved))
    return found


def _goes_to(ledger: Ledger, tensor: int, layer: int) -> bool:
    return tensor in ledger.found and ledger.after.layer_of[ledger.found[tensor].after] == layer


def moved_blocks(blocks: Mapping[str, str]) -> set[str]:
    """Return the blocks before that are in another order now, or among other blocks; `blocks` says what each became.

    Numbered blocks beside each other are a stack. Its own are those in the stack that most of them went to.
    """
    stacks: dict[str, list[tuple[int, str]]] = {}
    for block in blocks:
        stack, number = _numbered(block)
        stacks.setdefault(stack, []).append((number, block))
    moved = set()
    for members in stacks.values():
        ordered = [block for _, block in sorted(members)]
        (home, _), *_ = Counter(_numbered(blocks[block])[0] for block in ordered).most_common(1)
        staying = [block for block in ordered if _numbered(blocks[block])[0] == home]
        kept = increasing([_numbered(blocks[block])[1] for block in staying])
        moved |= set(ordered) - {staying[place] for place in kept}
    return moved


def _numbered(block: str) -> tuple[str, int]:
    stack = block.rstrip("0123456789")
    return stack, int(block[len(stack) :][-18:])
