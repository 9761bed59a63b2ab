"""Tensors that got more rows, as embeddings and heads do with a vocabulary or with classes: the rows of all sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from blake3 import blake3

from lamella.model.merging import plan as words
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Compute, Conflict, Place, Rows, Stack, Take
from lamella.model.merging.vocabularies import Tokens, Told
from lamella.model.merging.windows import head_and_rest, places_of, row_nbytes

Merge = Callable[[Place | None, tuple[Place, ...]], Take | Compute]
"""Returns the action that merges rows of some sides."""

MOST_PADDING = 1024
"""Rows of an embedding beyond the last token: what makes their number a multiple of 64, or 512."""


class _Row(NamedTuple):
    """One row of the result behind those of the base: which row of which sides."""

    token: str
    rows: tuple[tuple[Place, int], ...]


@dataclass(frozen=True, slots=True)
class Union:
    """The rows of all sides: how many, how they are made, what stands in them, and what is worth telling."""

    rows: int
    stack: Stack
    tokens: tuple[str | None, ...]
    note: str


def unite(
    models: Models, base: Place, sides: Sequence[Place], vocabularies: Told, merge: Merge
) -> Union | Conflict | None:
    """Return the rows of the base, merged, and behind them what sides added; None where no side added any.

    Rows that the vocabularies call by one token are one; without vocabularies, what has the same bytes is. Rows behind
    all tokens, which pad, are those of the side that has most rows.
    """
    specs = [models.spec(place) for place in (base, *sides)]
    told = _tokens(models, (base, *sides), vocabularies)
    if len({spec.shape for spec in specs}) == 1 and sum(len(one) > len(told[0]) for one in told[1:]) < 2:
        return None
    if len({(spec.dtype, spec.shape[1:]) for spec in specs}) > 1 or row_nbytes(specs[0]) is None:
        return None
    if any(spec.shape[0] < specs[0].shape[0] for spec in specs):
        return Conflict(words.SHAPES, "one side removed rows and another changed it")
    if told:
        return _by_token(models, base, sides, told, merge)
    count = specs[0].shape[0]
    added = _by_position(models, sides, count)
    parts = (_common(models, base, sides, count, merge), *added)
    note = "new rows: " + ", then ".join(map(_counted, added))
    return Union(sum(part.count for part in parts), Stack(parts), (), note)


def _counted(part: Rows) -> str:
    return f"{part.count} of {' and '.join(side_name(place.side) for place in places_of(part.action))}"


def side_name(number: int) -> str:
    """Return what a side is called in a sentence."""
    return ("ours", "theirs")[number] if number < 2 else f"side {number + 1}"


def _tokens(models: Models, places: Sequence[Place], vocabularies: Told) -> list[Tokens]:
    """Return the tokens of each place, nothing where some are not known, none is new, or this is no table of tokens."""
    found = [vocabularies.tokens(place.side) for place in places]
    if all(tokens == found[0] for tokens in found):
        return []
    for place, tokens in zip(places, found, strict=True):
        rows = (models.spec(place).shape or (0,))[0]
        if not tokens or not len(tokens) <= rows <= len(tokens) + min(MOST_PADDING, max(1, len(tokens) // 8)):
            return []
    return found


def _by_token(
    models: Models, base: Place, sides: Sequence[Place], told: Sequence[Tokens], merge: Merge
) -> Union | Conflict:
    known, *others = told
    for tokens in others:
        at = next((at for at, (one, other) in enumerate(zip(known, tokens, strict=False)) if one != other), None)
        if at is not None or len(tokens) < len(known):
            at = len(tokens) if at is None else at
            return Conflict(words.SHAPES, f"the vocabulary was numbered anew on one side, from row {at} on")
    found: dict[str, dict[Place, int]] = {}
    for place, tokens in zip(sides, others, strict=True):
        for row, token in enumerate(tokens[len(known) :], len(known)):
            if token is not None:
                found.setdefault(token, {}).setdefault(place, row)
    rows = [_Row(token, tuple(where.items())) for token, where in found.items()]
    parts = [_common(models, base, sides, len(known), merge), *_stacked(rows, merge)]
    shared = sum(len(row.rows) > 1 for row in rows)
    note = f"{len(rows)} new tokens" + (f", {shared} of them the mean of several sides" if shared else "")
    total, longest = len(known) + len(rows), max((base, *sides), key=lambda place: models.spec(place).shape[0])
    behind = max(0, models.spec(longest).shape[0] - total)
    if behind:
        parts.append(Rows(behind, Take(longest), (total,)))
    tokens = (*known, *(row.token for row in rows), *[None] * behind)
    return Union(total + behind, Stack(tuple(parts)), tokens, note)


def _by_position(models: Models, sides: Sequence[Place], count: int) -> list[Rows]:
    """Return what sides added, the same only once."""
    parts: list[Rows] = []
    seen: set[tuple[int, bytes]] = set()
    for place in sides:
        total = models.spec(place).shape[0]
        digest = _digests(models, place, count)[1]
        if total > count and (total, digest) not in seen:
            parts.append(Rows(total - count, Take(place), (count,)))
            seen.add((total, digest))
    return parts


def _common(models: Models, base: Place, sides: Sequence[Place], count: int, merge: Merge) -> Rows:
    """Return the rows that all have, of the sides that changed them."""
    before = _digests(models, base, count)[0]
    heads = {place: _digests(models, place, count)[0] for place in sides}
    changed = tuple(place for place, head in heads.items() if head != before)
    if len({heads[place] for place in changed}) > 1:
        return Rows(count, merge(base, changed), (0,) * (1 + len(changed)))
    return Rows(count, Take(changed[0] if changed else base), (0,))


def _digests(models: Models, place: Place, count: int) -> tuple[bytes, bytes]:
    """Return the digests of the first rows of a tensor, and of those behind them."""
    length = count * (row_nbytes(models.spec(place)) or 0)
    head, rest = blake3(), blake3()
    with closing(head_and_rest(models, place, length)) as pieces:
        for piece, is_head in pieces:
            (head if is_head else rest).update(piece)
    return head.digest(), rest.digest()


def _stacked(rows: Sequence[_Row], merge: Merge) -> list[Rows]:
    """Return rows as runs of neighbours."""
    parts: list[Rows] = []
    begin = 0
    for at in range(1, len(rows) + 1):
        if at < len(rows) and _follows(rows[at - 1], rows[at]):
            continue
        places = tuple(place for place, _ in rows[begin].rows)
        action = Take(places[0]) if len(places) == 1 else merge(None, places)
        starts = dict(rows[begin].rows)
        parts.append(Rows(at - begin, action, tuple(starts[place] for place in places_of(action))))
        begin = at
    return parts


def _follows(one: _Row, other: _Row) -> bool:
    return other.rows == tuple((place, row + 1) for place, row in one.rows)
