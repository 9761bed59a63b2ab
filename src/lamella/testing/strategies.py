"""The conformance suite of the Strategy protocol: subclass it, set `strategy`, and pytest does the rest."""
# ruff: noqa: D102 -- the names of the tests are sentences

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from random import Random
from typing import Any

from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.model.merging import plan as words
from lamella.model.merging.choosing import strategy_named
from lamella.model.merging.contents import Companions
from lamella.model.merging.plan import Place
from lamella.model.merging.rules import Choice, Rules
from lamella.model.merging.strategy import Strategy
from lamella.testing.merging import FLOATS_OF_BYTES, NEVER_AVERAGED, PACKED, SHAPES, Merged, Model, bits, merge, weights

SEEDS = st.integers(0, 1 << 32)
EXAMPLES = 12

_inherited = settings(
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow], deadline=None, max_examples=EXAMPLES
)


class StrategySuite:
    """What every strategy promises. A subclass sets `strategy`, and what differs from the defaults.

    `parameters` are what it is tried with; `is_robust` says that a value which is not finite on one side may be passed
    over; `beside` is the kind of companions that it needs.
    """

    strategy: Strategy
    parameters: Mapping[str, float] = {}
    is_robust: bool = False
    merges_integers: bool = False
    beside: str = ""

    def rules(self, weights: Sequence[float] = ()) -> Rules:
        """Return rules that have the strategy merge everything, but for what is only kept beside tensors."""
        choices = (("*", Choice(self.strategy.name, self.parameters)), ("*.beside", Choice("ours")))
        return Rules(choices=choices, weights=tuple(weights) if self.strategy.weighted else ())

    def companions(self, kind: str, place: Place) -> Place | None:
        """Return what `adorned` put beside a tensor."""
        return Place(place.side, f"{place.name}.beside") if kind == self.beside else None

    def adorned(self, made: Model) -> Model:
        """Return a model with companions beside its tensors, where the strategy needs them."""
        return made

    def merge(self, base: Model, sides: Sequence[Model], threads: int = 1, weights: Sequence[float] = ()) -> Merged:
        """Return what the strategy makes of models."""
        finder: Companions | None = self.companions if self.beside else None
        return merge(
            self.adorned(base), [self.adorned(side) for side in sides], self.rules(weights), threads, finder
        )  # fmt: skip

    def moved(self, seed: int, dtypes: Sequence[str] = FLOATS_OF_BYTES) -> tuple[Model, list[Model]]:
        """Return a base of a few tensors, and sides each of which moved some elements of every one."""
        draw = Random(seed)
        shapes = [(*draw.choice(SHAPES),) for _ in range(3)]
        specs = [TensorSpec(f"t{n}", DTYPES[draw.choice(dtypes)], shape) for n, shape in enumerate(shapes)]
        base = Model({one.name: (one, weights(one, draw.getrandbits(32))) for one in specs}, draw.choice((3, 64, 9999)))
        sides = [
            base.with_changes(**{
                name: weights(one, draw.getrandbits(32), data) for name, (one, data) in base.tensors.items()
            })
            for _ in range(min(3, self.strategy.most_sides or 3))
        ]  # fmt: skip
        return base, sides

    def shares(self, count: int) -> tuple[float, ...]:
        return (*(2.0**-side for side in range(1, count)), 2.0 ** (1 - count))

    def reference(self, base: Any, sides: list[Any], weights: tuple[float, ...], seed: int) -> Any:
        """Return the formula's results for one matrix, float64, as `parameters` say; written without the strategy."""
        raise NotImplementedError

    def test_it_is_listed_and_describes_itself(self) -> None:
        assert strategy_named(self.strategy.name).name == self.strategy.name
        assert not self.strategy.name.strip("abcdefghijklmnopqrstuvwxyz-")
        assert self.strategy.summary
        assert self.strategy.summary[-1] != "."
        for parameter in self.strategy.parameters:
            assert parameter.least <= parameter.default <= parameter.most
            assert parameter.meaning
            assert not parameter.name.strip("abcdefghijklmnopqrstuvwxyz-")

    @_inherited
    @given(seed=SEEDS)
    def test_what_one_side_changed_is_taken_bit_for_bit(self, seed: int) -> None:
        draw = Random(seed)
        names = [draw.choice((*FLOATS_OF_BYTES, *PACKED, *NEVER_AVERAGED)) for _ in range(4)]
        shapes = [(*draw.choice(SHAPES)[:-1], 64) if name.startswith("q") else draw.choice(SHAPES) for name in names]
        specs = [
            TensorSpec(f"t{n}", DTYPES[name], shape) for n, (name, shape) in enumerate(zip(names, shapes, strict=True))
        ]
        base = Model({one.name: (one, bits(one, draw.getrandbits(32))) for one in specs})
        owners = {one.name: draw.randrange(2) for one in specs}
        sides = [
            base.with_changes(**{
                one.name: bits(one, draw.getrandbits(32)) for one in specs if owners[one.name] == side
            })
            for side in range(2)
        ]  # fmt: skip
        found = self.merge(base, sides)
        assert not found.plan.conflicts
        for name, owner in owners.items():
            assert found.tensors[name] == sides[owner].tensors[name][1]

    @_inherited
    @given(seed=SEEDS)
    def test_what_all_sides_made_the_same_is_taken(self, seed: int) -> None:
        base, (side, *_) = self.moved(seed)
        found = self.merge(base, [side, side])
        assert all(found.tensors[name] == data for name, (_, data) in side.tensors.items())

    @_inherited
    @given(seed=SEEDS)
    def test_merging_what_did_not_change_changes_nothing(self, seed: int) -> None:
        base, (side, *_) = self.moved(seed)
        for sides in ([side, base], [base, side]):
            found = self.merge(base, sides)
            assert all(found.tensors[name] == data for name, (_, data) in side.tensors.items())

    @_inherited
    @given(seed=SEEDS)
    def test_elements_that_no_side_moved_keep_their_bits(self, seed: int) -> None:
        one = TensorSpec("t", DTYPES[Random(seed).choice(FLOATS_OF_BYTES)], (40,))
        nbytes = one.nbytes // 40
        base = Model({"t": (one, bits(one, seed))})
        sides = [
            base.with_changes(t=bits(one, seed + n)[: 20 * nbytes] + base.tensors["t"][1][20 * nbytes :])
            for n in (1, 2)
        ]
        found = self.merge(base, sides)
        assert found.tensors["t"][20 * nbytes :] == base.tensors["t"][1][20 * nbytes :]

    def test_results_are_those_of_the_formula_rounded_once(self) -> None:
        import numpy

        count = min(3, self.strategy.most_sides or 3)
        shares = self.shares(count) if self.strategy.weighted else (1.0,) * count
        for dtype, kind in (("f32", numpy.float32), ("f16", numpy.float16)):
            one = TensorSpec("t", DTYPES[dtype], (40, 50))
            base = Model({"t": (one, weights(one, 1))})
            alike = weights(one, 2, base.tensors["t"][1])
            sides = [base.with_changes(t=weights(one, seed, alike)) for seed in range(3, 3 + count)]
            if self.strategy.symmetric:
                sides.sort(key=lambda side: side.contents()[0])
            digests = [base.contents()[0], *sorted(side.contents()[0] for side in sides)]
            before, *after = (
                numpy.frombuffer(side.tensors["t"][1], kind).astype(numpy.float64).reshape(one.shape)
                for side in (base, *sides)
            )
            expected = self.reference(before, after, shares, int.from_bytes(blake3(b"".join(digests)).digest(8)))
            found = numpy.frombuffer(self.merge(base, sides, weights=shares).tensors["t"], kind)
            assert numpy.array_equal(found.reshape(one.shape), expected.astype(kind))

    @_inherited
    @given(seed=SEEDS)
    def test_the_order_of_sides_means_nothing_where_that_is_promised(self, seed: int) -> None:
        base, sides = self.moved(seed)
        if seed % 2:
            sides[-1] = sides[0]
        shares = self.shares(len(sides))
        if not self.strategy.symmetric:
            return
        seen = []
        for order in permutations(range(len(sides))):
            found = self.merge(base, [sides[n] for n in order], weights=[shares[n] for n in order])
            kinds = {name: found.conflict(name) for name in base.tensors}
            seen.append((kinds, [found.tensors[name] for name, kind in kinds.items() if kind is None]))
        assert all(one == seen[0] for one in seen)

    @_inherited
    @given(seed=SEEDS)
    def test_the_same_models_give_the_same_bits_however_they_are_read(self, seed: int) -> None:
        base, sides = self.moved(seed)
        first = self.merge(base, sides)
        base.piece_nbytes = 7
        for side in sides:
            side.piece_nbytes = 1001
        assert self.merge(base, sides).tensors == first.tensors

    def test_threads_and_what_is_held_change_no_bit(self, monkeypatch: Any) -> None:
        one = TensorSpec("t", DTYPES["f32"], (3000, 100))
        base = Model({"t": (one, weights(one, 1))})
        sides = [base.with_changes(t=weights(one, seed, base.tensors["t"][1])) for seed in (2, 3)]
        found = {self.merge(base, sides, threads).tensors["t"] for threads in (1, 4)}
        monkeypatch.setattr("lamella.model.merging.contents.HELD_NBYTES", 0)
        found |= {self.merge(base, sides, threads).tensors["t"] for threads in (1, 4)}
        assert len(found) == 1
        assert len(found.pop()) == one.nbytes

    @_inherited
    @given(seed=SEEDS)
    def test_tied_tensors_stay_tied(self, seed: int) -> None:
        base, sides = self.moved(seed, [*FLOATS_OF_BYTES, *PACKED])
        tied = [
            Model({f"{name}{copy}": (TensorSpec(f"{name}{copy}", one.dtype, one.shape), data)
                   for copy in "ab" for name, (one, data) in made.tensors.items()})
            for made in (base, *sides)
        ]  # fmt: skip
        found = self.merge(tied[0], tied[1:])
        assert all(found.tensors[f"{name}a"] == found.tensors[f"{name}b"] for name in base.tensors)

    def test_integers_and_blocks_that_both_changed_are_conflicts(self) -> None:
        for dtype in NEVER_AVERAGED:
            one = TensorSpec("t", DTYPES[dtype], (2, 256))
            base, *sides = (Model({"t": (one, bits(one, seed))}) for seed in (1, 2, 3))
            found = self.merge(base, sides)
            if self.merges_integers and dtype in ("u8", "i64", "i32"):
                assert found.conflict("t") is None
            else:
                assert found.conflict("t") == words.NOT_AVERAGED
                assert found.tensors["t"] == sides[0].tensors["t"][1]

    def test_what_is_not_finite_on_one_side_does_not_come_in_silence(self) -> None:
        import numpy

        one = TensorSpec("t", DTYPES["f32"], (4, 50))
        base = Model({"t": (one, weights(one, 1))})
        values = [numpy.frombuffer(weights(one, seed), numpy.float32).copy() for seed in (2, 3)]
        for wrong in (numpy.nan, numpy.inf, -numpy.inf):
            values[0][17] = wrong
            for order in (values, values[::-1]):
                found = self.merge(base, [base.with_changes(t=side.tobytes()) for side in order])
                finite = numpy.isfinite(numpy.frombuffer(found.tensors["t"], numpy.float32)).all()
                assert found.conflict("t") == (None if finite else words.NOT_FINITE)
                assert self.is_robust or not finite

    def test_what_is_not_finite_in_the_base_does_not_come_in_silence(self) -> None:
        import numpy

        one = TensorSpec("t", DTYPES["f32"], (4, 50))
        values, *sides = (numpy.frombuffer(weights(one, seed), numpy.float32).copy() for seed in (1, 2, 3))
        for wrong in (numpy.nan, numpy.inf, -numpy.inf):
            values[17] = wrong
            base = Model({"t": (one, values.tobytes())})
            found = self.merge(base, [base.with_changes(t=side.tobytes()) for side in sides])
            finite = numpy.isfinite(numpy.frombuffer(found.tensors["t"], numpy.float32)).all()
            assert found.conflict("t") == (None if finite else words.NOT_FINITE)

    def test_what_is_infinite_everywhere_stays(self) -> None:
        import numpy

        one = TensorSpec("t", DTYPES["f32"], (4, 50))
        values = [numpy.frombuffer(weights(one, seed), numpy.float32).copy() for seed in (1, 2, 3)]
        for side in values:
            side[17] = -numpy.inf
            side[18] = numpy.nan
        base, *sides = (Model({"t": (one, side.tobytes())}) for side in values)
        found = self.merge(base, sides)
        assert found.conflict("t") is None
        assert found.tensors["t"][17 * 4 : 19 * 4] == values[0][17:19].tobytes()
