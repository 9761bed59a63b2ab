"""The merged tensors, taken or computed as they are asked for: piece by piece, in bounded memory, over the threads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

from lamella.core.buffers import Buffer
from lamella.core.config import DEFAULT
from lamella.core.errors import ConflictError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.model.merging import plan as words
from lamella.model.merging.choosing import strategy_named
from lamella.model.merging.contents import Companions, PlacedContents
from lamella.model.merging.elements import count_overflows
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Compute, Conflict, MergePlan, PlannedTensor, Stack, Take
from lamella.model.merging.score import Score, Tally, score
from lamella.model.merging.strategy import Span
from lamella.model.merging.windows import Windows


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen when a tensor was computed: how far the sides are at odds, and whether that is a conflict."""

    name: str
    score: Score | None
    conflict: Conflict | None


class MergedTensors:
    """The tensors of a plan as a StreamedSource. Each that is computed leaves an outcome once it was gone through.

    Where the outcome has a conflict, the bytes that came are those that the strategy makes, and not yet to be kept:
    what stands instead is the first side's. Memory is bounded by the spans in flight, and by HELD_NBYTES of a tensor
    that has to be gone through several times; larger ones are read again.
    """

    def __init__(
        self,
        plan: MergePlan,
        models: Models,
        opposition: float = 1.0,
        threads: int = DEFAULT.threads,
        progress: Progress = SILENT,
        companions: Companions | None = None,
    ) -> None:
        self._plan = {one.name: one for one in plan.tensors}
        self._models = models
        self._opposition = opposition
        self._threads = threads
        self._progress = progress
        self._companions = companions
        self.outcomes: dict[str, Outcome] = {}

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors of the result, in its order."""
        return [one.spec for one in self._plan.values()]

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named its bytes, in pieces. See `StreamedSource`; raises as sides and strategies do."""
        planned = [self._plan[name] for name in names]
        for side, run in groupby(planned, key=_taken_from):
            members = list(run)
            if side is None:
                yield from map(self._made, members)
                continue
            taken = [one.action.place.name for one in members if isinstance(one.action, Take)]
            yield from map(self._told, self._models.stream(side, taken))

    def _told(self, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
        for piece in pieces:
            yield piece
            self._progress.advance(len(piece))

    def _made(self, planned: PlannedTensor) -> Iterator[Buffer]:
        action = planned.action
        if isinstance(action, Stack):
            return self._told(self._stacked(planned, action))
        assert isinstance(action, Compute)
        return self._told(self._alone(planned, action))

    def _alone(self, planned: PlannedTensor, action: Compute) -> Iterator[Buffer]:
        seen = yield from self._computed(planned.spec, action, self._models, self._companions)
        self.outcomes[planned.name] = self._outcome(planned, [seen], stops=action.stops)

    def _stacked(self, planned: PlannedTensor, action: Stack) -> Iterator[Buffer]:
        """Yield rows upon rows; the outcome is that of the rows that the base has."""
        seen: list[Tally | Conflict] = []
        stops = False
        for rows in action.parts:
            windows = Windows(self._models, rows)
            if isinstance(rows.action, Take):
                yield from next(windows.stream(rows.action.place.side, [rows.action.place.name]))
                continue
            spec = TensorSpec(planned.name, planned.spec.dtype, (rows.count, *planned.spec.shape[1:]))
            found = yield from self._computed(spec, rows.action, windows, None)
            if isinstance(found, Tally) and rows.action.base is None:
                found = Tally(found.not_finite)
            seen.append(found)
            stops |= rows.action.stops
        self.outcomes[planned.name] = self._outcome(planned, seen, stops=stops)

    def _computed(
        self, spec: TensorSpec, action: Compute, models: Models, companions: Companions | None
    ) -> Generator[Buffer, None, Tally | Conflict]:
        """Yield what a strategy makes, and return what it saw; what it refuses comes as the first side has it."""
        with closing(PlacedContents(spec, action, models, self._threads, companions)) as contents:
            try:
                formula = strategy_named(action.strategy).formula(contents, action.settings)
            except ConflictError as exc:
                if exc.kind != "merge-conflict":
                    raise
                yield from self._first(spec, action, models)
                return Conflict(words.UNMERGEABLE, str(exc))
            except UsageError as exc:
                raise UsageError(f"{spec.name}: {exc.message}", kind=exc.kind, hint=exc.hint) from exc
            total = Tally()
            for tally, data in contents.each(partial(_merged, formula, contents), last=True):
                total += tally
                yield data
        return total

    def _first(self, spec: TensorSpec, action: Compute, models: Models) -> Iterator[Buffer]:
        """Yield the first side's elements, as the result would keep them."""
        first = replace(action, base=None, sides=(min(action.sides, key=lambda place: place.side),))
        with closing(PlacedContents(spec, first, models, self._threads)) as contents:
            yield from contents.each(lambda span: contents.narrowed(bytearray(span.sides[0]), span.count), last=True)

    def _outcome(self, planned: PlannedTensor, seen: Sequence[Tally | Conflict], *, stops: bool) -> Outcome:
        conflict = next((one for one in seen if isinstance(one, Conflict)), None)
        total = sum((one for one in seen if isinstance(one, Tally)), Tally())
        found = score(total)
        if conflict is None and total.not_finite:
            number = f"{total.not_finite:,} element{'' if total.not_finite == 1 else 's'}"
            conflict = Conflict(words.NOT_FINITE, f"{number} would not be finite")
        elif conflict is None and stops and found is not None and found.is_opposed(self._opposition):
            conflict = Conflict(words.OPPOSED, f"the sides moved in opposite directions: cosine {found.cosine:.2f}")
        return Outcome(planned.name, found, conflict)


def _taken_from(planned: PlannedTensor) -> int | None:
    return planned.action.place.side if isinstance(planned.action, Take) else None


def _merged(formula: Callable[[Span, Any], Tally], contents: PlacedContents, span: Span) -> tuple[Tally, bytearray]:
    out = bytearray(len(span.sides[0]))
    tally = formula(span, out)
    made = contents.narrowed(out, span.count)
    return tally + Tally(count_overflows(out, span.dtype, made, contents.spec.dtype.name, span.count)), made
