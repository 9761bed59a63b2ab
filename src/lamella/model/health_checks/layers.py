"""The check for layers that are copies of others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from lamella.core.limits import MAX_COMPARED_TENSORS
from lamella.model.examination import LEAST_SAMPLED, Examined
from lamella.model.health import NOTE, WARNING, Finding, Patient, finding
from lamella.model.tensor_names import MOST_STEPS, blocks, family, is_optimizer_state, natural

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

SAME = 0.9999
"""The cosine, about their means, from which on two tensors are nearly the same."""

_LEAST_STACK = 3
_COMPARED_AT_ONCE = 1024

_ADVICE = "see whether a layer was copied, or a stack was made deeper, and never trained apart"


def duplicate_layers(patient: Patient) -> Iterator[Finding]:
    """Find layers of one stack that have the same weights, or nearly the same.

    Only matrices count, of a thousand elements or more, and none that all layers have in common while others differ, as
    masks and tables of angles are. A layer of which only some weights are the same is a note. Tied weights have other
    names, and are not looked at.
    """
    in_order = sorted(patient.tensors.items(), key=lambda item: natural(item[0]))
    weighty = {name: one for name, one in in_order if _counts(one)}
    copies = dict(_copies(weighty))
    for name in _tables(weighty, copies):
        del weighty[name]
        copies.pop(name, None)
    members: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for name, (original, cosine) in copies.items():
        first, second = blocks(original, name)
        members[first, second][name] = cosine
    sizes = _sizes({block for pair in members for block in pair}, weighty)
    for (first, second), found in members.items():
        total, lowest = sizes[second], min(found.values())
        whole = len(found) == total == sizes[first]
        what = "its weights" if whole else f"{len(found)} of {total} of its weights"
        how = "the same as" if lowest == 1.0 else "nearly the same as"
        yield finding(
            "duplicate-layers", WARNING if whole else NOTE, second,
            f"{what} are {how} those of {first}", _ADVICE,
            cosine=lowest, same=len(found), tensors=total,
        )  # fmt: skip


def _counts(one: Examined) -> bool:
    found = one.survey
    return (
        found is not None
        and found.count >= LEAST_SAMPLED
        and len(one.spec.shape) > 1
        and found.is_finite
        and not found.is_constant
        and not is_optimizer_state(one.spec.name)
    )


def _tables(weighty: Mapping[str, Examined], copies: Mapping[str, object]) -> list[str]:
    """Return what is the same in each of three layers or more, where other weights of repeated layers are not."""
    families: dict[str, list[str]] = defaultdict(list)
    for name in weighty:
        families[family(name)].append(name)
    stacks = [names for names in families.values() if len(names) >= _LEAST_STACK]
    alike = [names for names in stacks if sum(name in copies for name in names) == len(names) - 1]
    return [name for names in alike for name in names] if len(alike) < len(stacks) else []


def _copies(weighty: Mapping[str, Examined]) -> Iterator[tuple[str, tuple[str, float]]]:
    """Yield each tensor that another of its family is like, which comes before it, and the cosine of the two."""
    groups: dict[object, list[str]] = defaultdict(list)
    for name, one in weighty.items():
        groups[family(name), one.spec.dtype.name, one.spec.shape].append(name)
    for names in groups.values():
        if len(names) > 1:
            yield from _copies_among(names, weighty)


def _copies_among(names: Sequence[str], weighty: Mapping[str, Examined]) -> Iterator[tuple[str, tuple[str, float]]]:
    first: dict[bytes | None, str] = {}
    rest = []
    for name in names:
        digest = weighty[name].digest
        if digest is not None and first.setdefault(digest, name) != name:
            yield name, (first[digest], 1.0)
        elif weighty[name].sample is not None:
            rest.append(name)
    yield from _near(rest[:MAX_COMPARED_TENSORS], weighty)


def _near(names: Sequence[str], weighty: Mapping[str, Examined]) -> Iterator[tuple[str, tuple[str, float]]]:
    """Yield what is nearly like a tensor before it, told by samples of both."""
    import numpy

    if len(names) < 2:
        return
    samples = numpy.array([weighty[name].sample for name in names]).astype("f8")
    samples -= samples.mean(axis=1, keepdims=True)
    lengths = numpy.sqrt(numpy.einsum("ij,ij->i", samples, samples))
    units = (samples / numpy.where(lengths > 0, lengths, 1)[:, None]).astype("f4")
    for start in range(0, len(names), _COMPARED_AT_ONCE):
        cosines = units[start : start + _COMPARED_AT_ONCE] @ units[: start + _COMPARED_AT_ONCE].T
        for row, line in enumerate(cosines):
            alike = numpy.flatnonzero(line[: start + row] > SAME)
            if len(alike):
                exact = float(samples[start + row] @ samples[alike[0]] / (lengths[start + row] * lengths[alike[0]]))
                yield names[start + row], (names[alike[0]], min(exact, 1 - 2**-24))


def _sizes(named: set[str], weighty: Mapping[str, Examined]) -> dict[str, int]:
    """Return how many of the tensors are in each block, whose name stands before theirs and before a separator."""
    sizes = dict.fromkeys(named, 0)
    for name in weighty:
        ends = (at for at, letter in enumerate(name) if letter in "./")
        for end in (*islice(ends, MOST_STEPS), len(name)):
            if name[:end] in sizes:
                sizes[name[:end]] += 1
    return sizes
