"""Which copies a chain consists of: of each object the first that fits and whose own bases are found in the same way.

Readers and `gc` both ask here, so what the one relies on is what the other keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lamella.core.errors import IntegrityError, LamellaError, NotFoundError
from lamella.core.ids import ObjectId
from lamella.store.chain import Link
from lamella.store.record import Head

Links = tuple[Link, ...]
Copies = Callable[[ObjectId], Iterable[Link | IntegrityError]]
"""Gives every copy of an object, the best first, or what is wrong with its head."""


class Search:
    """A search for chains among `copies`; heads are read, payloads are not.

    What is found to lead nowhere is remembered, so that copies made to branch cost no more than there are of them.
    `fault` is the first one met. Not safe for several threads.
    """

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._futile: set[tuple[ObjectId, int, int, int]] = set()
        self.fault: LamellaError | None = None

    def chains(self, identity: ObjectId) -> Iterator[Links]:
        """Yield a chain for every copy of an object that has one, the best first."""
        return self._chains(identity, None)

    def _chains(self, identity: ObjectId, above: Head | None) -> Iterator[Links]:
        known = False
        for link in self._copies(identity):
            known = True
            if isinstance(link, IntegrityError):
                self._note(link)
            elif above is not None and (misfit := _misfit(link.head, above)) is not None:
                self._note(misfit)
            elif (below := self._below(link.head)) is not None:
                yield (link, *below)
        if not known:
            self._note(missing(identity))

    def _below(self, head: Head) -> Links | None:
        if head.base is None:
            return ()
        place = (head.base, head.depth, head.item_nbytes, head.chunk_shift)
        if place in self._futile:
            return None
        found = next(self._chains(head.base, head), None)
        if found is None:
            self._futile.add(place)
        return found

    def _note(self, fault: LamellaError) -> None:
        self.fault = self.fault or fault


def missing(identity: ObjectId) -> NotFoundError:
    """Return the error for an object that is not stored."""
    return NotFoundError(
        f"object {identity.hex()} is not in the store",
        kind="object-missing",
        hint="get it from another clone, or run `lamella fsck` to see what is affected",
    )


def _misfit(base: Head, above: Head) -> IntegrityError | None:
    """Return why an object cannot lean on this copy of its base; None where it can."""
    hint = "run `lamella fsck --repair`"
    if (base.item_nbytes, base.chunk_shift) != (above.item_nbytes, above.chunk_shift):
        return IntegrityError(f"object {above.id.hex()} has a base on another grid", kind="base-mismatch", hint=hint)
    if base.depth >= above.depth:
        return IntegrityError(f"the chain of object {above.id.hex()} does not end", kind="chain-too-deep", hint=hint)
    return None
