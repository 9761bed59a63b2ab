"""Finding out that a tensor can be made of others that are stored, and proving it.

A look at a few items proposes; that all bytes together have the right digest decides. So a tensor that differs in one
bit is not derived, and one that is derived is exactly what was added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from blake3 import blake3

from lamella.codec.builtin import encode
from lamella.codec.raw import equal
from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError, NotFoundError
from lamella.core.limits import MAX_READ_DEPTH, STRIPE_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.store.chain import Chain
from lamella.store.derived import derive
from lamella.store.kin import Family, Relative
from lamella.store.objects import ObjectStore
from lamella.store.proposals import Proposal, Proposals
from lamella.store.recipe import FILL, Block, Ingredient, Recipe, check_recipe, pack_recipe
from lamella.store.record import DERIVED, ROW, Head

SAMPLE_ITEMS = 1 << 12
"""Items that are made and compared at the beginning, the middle and the end before all are."""

ReadAt = Callable[[int, int], Buffer]


class Derivation(NamedTuple):
    """A recipe that was proved to make an object, and how deep the object is by it."""

    recipe: Recipe
    depth: int

    def finished(self, head: Head) -> Head:
        """Return the head of the object, `head` being one that states its lengths alone."""
        return replace(head, depth=self.depth, parameters=pack_recipe(self.recipe), flags=DERIVED)


def find_derivation(
    store: ObjectStore,
    head: Head,
    read_at: ReadAt,
    spec: TensorSpec | None,
    family: Family | None,
) -> Derivation | None:
    """Return how an object is made of what is stored, None where no way is found or a source is damaged.

    `head` gives the object's id and lengths, `spec` says what it is as a tensor, if that is known, and `family` what it
    may be made of. Costs next to nothing where nothing is likely.
    """

    def opened(relative: Relative) -> Chain | None:
        try:
            chain = store.open(relative.id)
        except (NotFoundError, IntegrityError):
            return None
        usable = chain.head.nbytes == relative.spec.nbytes
        return chain if usable and all(link.head.id != head.id for link in chain.every_link()) else None

    try:
        ways = Proposals(head, read_at, opened).proposed(spec, family)
        return next((found for way in ways if (found := _proved(head, read_at, way)) is not None), None)
    except IntegrityError:
        return None


def _proved(head: Head, read_at: ReadAt, proposal: Proposal) -> Derivation | None:
    chains = {chain.head.id: chain for chain in proposal.chains}
    numbers = {identity: number for number, identity in enumerate(chains)}
    order = [numbers[chain.head.id] for chain in proposal.chains]
    blocks = tuple(_renumbered(block, order) for block in proposal.blocks)
    sources = tuple(chains.values())
    recipe = Recipe(tuple(Ingredient(chain.head.id, chain.head.nbytes) for chain in sources), blocks)
    depth = max((chain.head.depth + 1 for chain in sources), default=0)
    try:
        check_recipe(recipe, head.nbytes, head.item_nbytes)
    except IntegrityError:
        return None  # larger or more scattered than recipes may be
    if depth > MAX_READ_DEPTH or not _agrees(head, read_at, recipe, sources) or not _saves(head, read_at, recipe):
        return None
    hasher = blake3()
    for start in range(0, head.nbytes, STRIPE_NBYTES):
        stop = min(start + STRIPE_NBYTES, head.nbytes)
        hasher.update(derive(recipe, head.item_nbytes, sources, start, stop))
    return Derivation(recipe, depth) if hasher.digest() == head.id else None


def _agrees(head: Head, read_at: ReadAt, recipe: Recipe, sources: Sequence[Chain]) -> bool:
    item_nbytes = head.item_nbytes
    items = head.nbytes // item_nbytes
    count = min(SAMPLE_ITEMS, items)
    for first in dict.fromkeys((0, (items - count) // 2, items - count)):
        start, stop = first * item_nbytes, (first + count) * item_nbytes
        if not equal(memoryview(read_at(start, stop - start)), derive(recipe, item_nbytes, sources, start, stop)):
            return False
    return True


def _saves(head: Head, read_at: ReadAt, recipe: Recipe) -> bool:
    """Say whether a recipe is shorter than what the object takes alone, of which no more is encoded than tells."""
    left = len(pack_recipe(recipe))
    for number in range(head.chunks):
        chunk = read_at(number * head.chunk_nbytes, head.decoded_nbytes(number))
        left -= ROW.size + len(encode(chunk, head.item_nbytes, None)[1])
        if left < 0:
            return True
    return False


def _renumbered(block: Block, order: Sequence[int]) -> Block:
    pieces = (
        piece if piece.transform == FILL else piece._replace(source=order[piece.source]) for piece in block.pieces
    )
    return Block(block.rows, tuple(pieces))
