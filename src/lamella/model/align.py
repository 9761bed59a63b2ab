"""Putting two models beside each other: which tensor, and which layer, of one became which of the other.

From what is sure to what is likely: equal content, equal names whose weights are alike, blocks, an assignment by
weights, what is around a layer, sizes that changed, and last the name alone. A name by itself decides only where
nothing else speaks: behind a block that was inserted, all names are wrong. docs/design/0012-alignment.md says why.
"""

from __future__ import annotations

from lamella.model.alignment import Alignment, Pair
from lamella.model.following import follow, pair_copies, pair_recast
from lamella.model.ledger import Ledger
from lamella.model.matching import pair_alike, pair_blocks, pair_content, pair_named, pair_siblings
from lamella.model.moves import pair_layers
from lamella.model.resizing import pair_resized
from lamella.model.side import AlignmentSource, Side

STEPS = (
    *(pair_siblings, pair_named, pair_siblings, pair_blocks, pair_siblings, pair_alike),
    *(follow, pair_siblings, pair_resized, follow, pair_siblings, pair_recast, pair_copies),
)
"""From what is sure to what is likely; after each that pairs whole layers by a part of them, what is beside that."""


def align(before: AlignmentSource, after: AlignmentSource) -> Alignment:
    """Return which tensor of `before` became which of `after`, with reasons and confidence, the same every time.

    Weights are read only of tensors without a sketch and of those that may have got another size. Time is bounded by
    the number of tensors, and by the caps in `assignment` and `resizing`; beyond these, content and names decide.
    """
    ledger = Ledger(Side(before), Side(after))
    pair_content(ledger)
    ledger.before.load(ledger.open_before(range(len(ledger.before.specs))))
    ledger.after.load(ledger.open_after(range(len(ledger.after.specs))))
    for step in STEPS:
        if not ledger.is_settled():
            step(ledger)
    return _alignment(ledger)


def _alignment(ledger: Ledger) -> Alignment:
    before, after = ledger.before, ledger.after
    pairs = tuple(
        Pair(before.names[old], after.names[found.after], found.reason, round(found.confidence, 4))
        for old, found in sorted(ledger.found.items())
    )
    layers = ledger.layer_pairs()
    became = set(layers.values())
    return Alignment(
        pairs,
        tuple(before.names[tensor] for tensor in ledger.open_before(range(len(before.specs)))),
        tuple(after.names[tensor] for tensor in ledger.open_after(range(len(after.specs)))),
        tuple(pair_layers(ledger)),
        tuple(layer.name for number, layer in enumerate(before.layers) if number not in layers),
        tuple(layer.name for number, layer in enumerate(after.layers) if number not in became),
    )
