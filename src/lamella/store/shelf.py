"""What the packs hold of every object, by their own directories: each copy, and how an object stands with its bases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lamella.core.ids import ObjectId
from lamella.core.limits import CHUNK_SHIFT
from lamella.store.chain import Chain, Link
from lamella.store.copies import missing
from lamella.store.gc import Copies, Place
from lamella.store.objects import ObjectStore
from lamella.store.pack import Entry
from lamella.store.predict import link_cost
from lamella.store.record import Head


class Form(NamedTuple):
    """How a copy is stored. `is_plain` says that it is what a writer makes of an object with at most one base."""

    base: ObjectId | None
    item_nbytes: int
    is_plain: bool


class Standing(NamedTuple):
    """How a reader finds an object: its length, the bytes of its record, and what it costs to restore it.

    `link_cost` is what its own delta has of that.
    """

    form: Form
    nbytes: int
    stored_nbytes: int
    cost: int
    link_cost: int


class Shelf:
    """A look at the packs, as they are when it is made. Packs must not go meanwhile: the caller holds the lock.

    `earlier` is a look before this one, which saves reading again what both see. Raises IntegrityError, as all
    methods do, where a directory or a head is damaged.
    """

    def __init__(self, store: ObjectStore, earlier: Shelf | None = None) -> None:
        self._store = store
        self._lengths = store.refresh()
        self.entries: dict[str, list[Entry]] = {}
        for name, nbytes in sorted(self._lengths.items()):
            if earlier is not None and earlier._lengths.get(name) == nbytes:
                self.entries[name] = earlier.entries[name]
            else:
                self.entries[name] = store.pack(name).entries()
        self.modified = {name: store.modified(name) for name in self.entries}
        self.copies = Copies(store, self.entries)
        self._forms: dict[Place, Form] = {} if earlier is None else earlier._forms

    def form(self, place: Place) -> Form:
        """Return how the copy at `place` is stored."""
        form = self._forms.get(place)
        if form is None:
            form = self._forms[place] = _form(self._store.pack(place.pack).head(place.entry))
        return form

    def youth(self, identity: ObjectId) -> float:
        """Return from when the grace period of an object counts: the time of the youngest pack that has it."""
        return max((self.modified[place.pack] for place in self.copies.places(identity)), default=0.0)

    def open(self, identity: ObjectId, item_nbytes: int | None = None) -> Chain:
        """Open an object as readers do, or as its copies with items of that width let it be read.

        Raises NotFoundError (object-missing) where there is none.
        """
        for links in self.copies.search().chains(identity):
            if item_nbytes in (None, links[0].head.item_nbytes):
                return Chain(links)
        raise missing(identity)

    def chain(self, places: list[Place]) -> Chain:
        """Return the chain of those copies, an object's and its bases', nearest first."""
        links = []
        for place in places:
            pack = self._store.pack(place.pack)
            links.append(Link(pack.head(place.entry), pack, place.entry))
        return Chain(tuple(links))

    def standings(self) -> Iterator[tuple[ObjectId, Standing]]:
        """Yield how each object stands that can be read and, with all below it, is plain."""
        search = self.copies.search()
        for identity in self.copies.identities():
            links = next(search.chains(identity), ())
            forms = [_form(link.head) for link in links]
            if links and all(form.is_plain for form in forms):
                head = links[0].head
                below = [
                    link_cost(link.head.nbytes, link.head.item_nbytes, link.head.payload_nbytes) for link in links[:-1]
                ]
                yield (
                    identity,
                    Standing(forms[0], head.nbytes, links[0].entry.nbytes, head.nbytes + sum(below), sum(below[:1])),
                )


def _form(head: Head) -> Form:
    return Form(
        head.base, head.item_nbytes, head.chunk_shift == CHUNK_SHIFT and (head.base is None) == (not head.depth)
    )
