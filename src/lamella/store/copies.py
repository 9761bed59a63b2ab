"""Which copies a chain consists of: of each object the first that fits and whose own bases are found in the same way.

Readers and `gc` both ask here, so what the one relies on is what the other keeps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from lamella.core.errors import IntegrityError, LamellaError, NotFoundError
from lamella.core.ids import ObjectId
from lamella.core.limits import CHUNK_SHIFT
from lamella.store.chain import Link
from lamella.store.record import DERIVED, Head

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
        self._futile: set[_Need] = set()
        self.fault: LamellaError | None = None

    def chains(self, identity: ObjectId) -> Iterator[Links]:
        """Yield a chain for every copy of an object that has one, the best first."""
        return self._chains(identity, None)

    def _chains(self, identity: ObjectId, need: _Need | None) -> Iterator[Links]:
        known = False
        for link in self._copies(identity):
            known = True
            if isinstance(link, IntegrityError):
                self._note(link)
            elif need is not None and (misfit := need.misfit(link.head)) is not None:
                self._note(misfit)
            elif (links := self._completed(link, plain=need is not None and need.plain)) is not None:
                yield links
        if not known:
            self._note(missing(identity))

    def _completed(self, link: Link, *, plain: bool) -> Links | None:
        """Return the chain of one copy, None where something that it leans on is not found."""
        head = link.head
        found: list[Links] = []
        needs = tuple(_needs(head, plain=plain))
        if not self._futile.isdisjoint(needs):
            return None
        for need in needs:
            below = next(self._chains(need.id, need), None)
            if below is None:
                self._futile.add(need)
                return None
            found.append(below)
        if head.flags & DERIVED:
            return (replace(link, sources=tuple(found)),)
        return (link, *itertools.chain.from_iterable(found))

    def _note(self, fault: LamellaError) -> None:
        self.fault = self.fault or fault


def missing(identity: ObjectId) -> NotFoundError:
    """Return the error for an object that is not stored."""
    return NotFoundError(
        f"object {identity.hex()} is not in the store",
        kind="object-missing",
        hint="get it from another clone, or run `lamella fsck` to see what is affected",
    )


class _Need(NamedTuple):
    """What an object leans on: a base on its `grid`, or a source of `nbytes`, each less deep than `above`.

    A `plain` chain is that of a source, which is not made of other objects itself.
    """

    id: ObjectId
    above: int
    grid: tuple[int, int] | None
    nbytes: int | None
    plain: bool

    def misfit(self, head: Head) -> IntegrityError | None:
        """Return why a copy cannot be leaned on; None where it can."""
        hint = "run `lamella fsck --repair`"
        name = self.id.hex()
        if self.grid not in (None, (head.item_nbytes, head.chunk_shift)):
            return IntegrityError(f"the base {name} is on another grid", kind="base-mismatch", hint=hint)
        if self.nbytes not in (None, head.nbytes):
            return IntegrityError(f"the source {name} has another length", kind="base-mismatch", hint=hint)
        if self.nbytes is not None and head.chunk_shift > CHUNK_SHIFT:
            # Every piece of a recipe may cost a chunk of each link.
            return IntegrityError(f"the source {name} is on a strange grid", kind="base-mismatch", hint=hint)
        if self.plain and head.flags & DERIVED and head.leans_on:
            return IntegrityError(f"the source {name} is derived itself", kind="base-mismatch", hint=hint)
        if head.depth >= self.above:
            return IntegrityError(f"a chain with object {name} does not end", kind="chain-too-deep", hint=hint)
        return None


def _needs(head: Head, *, plain: bool) -> Iterator[_Need]:
    if head.recipe is not None:
        for source in head.recipe.sources:
            yield _Need(source.id, head.depth, None, source.nbytes, True)
    elif head.base is not None:
        yield _Need(head.base, head.depth, (head.item_nbytes, head.chunk_shift), None, plain)
