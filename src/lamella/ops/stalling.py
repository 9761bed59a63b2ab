"""What of an update came through: elements that a step smaller than half their last place leaves as they were."""

from __future__ import annotations

from collections.abc import Iterator

from lamella.core.buffers import Buffer
from lamella.core.limits import MIB
from lamella.core.tensors import TensorSpec
from lamella.model.merging.averaging import AVERAGED
from lamella.model.streams import cut, lengths_of
from lamella.repo.joined_model import Model

_SPAN_NBYTES = MIB


def stalled_share(before: Model, new: Model, after: Model) -> float:
    """Return the share of the elements in which `before` and `new` differ that `after` has as `before`; 0 for none.

    Elements are those of the floats that all three have in one shape, compared by their bits; memory is bounded.
    """
    import numpy

    names = [name for name in before.names if _is_compared(name, before, new, after)]
    differing = stalled = 0
    streams = (before.stream(names), new.stream(names), after.stream(names))
    for name, *three in zip(names, *streams, strict=True):
        spec = before.spec(name)
        kind = f"u{spec.dtype.item_nbytes}"
        for spans in zip(*(_spans(spec, pieces) for pieces in three), strict=True):
            one, two, now = (numpy.frombuffer(span, kind) for span in spans)
            moved = one != two
            differing += int(numpy.count_nonzero(moved))
            stalled += int(numpy.count_nonzero(moved & (now == one)))
    return stalled / differing if differing else 0.0


def _is_compared(name: str, *models: Model) -> bool:
    first, second, _ = models
    if not all(name in model.names for model in models) or len({model.spec(name) for model in models}) > 1:
        return False
    return first.spec(name).dtype.name in AVERAGED and first.rows[name].object != second.rows[name].object


def _spans(spec: TensorSpec, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
    return cut(pieces, lengths_of(spec.nbytes, _SPAN_NBYTES))
