"""What is merged with what when sides renamed, moved, put in and took out layers: edits on both sides come together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.model.merging.rules import Choice, Rules
from tests.model.merging.edited import changed, merged, planned, same
from tests.model.networks import block, named, tuned

AROUND = {
    name: numpy.random.default_rng(number).standard_normal((100, 32), dtype="f4")
    for number, name in enumerate(("emb.weight", "head.weight"))
} | {"norm.weight": numpy.ones(32, "f4"), "norm.bias": numpy.zeros(32, "f4")}


def blocks(count, seed=1):
    draw = numpy.random.default_rng(seed)
    return [block(draw, 32, 64) for _ in range(count)]


def model(listed, **around):
    return named(listed) | AROUND | {name.replace("_", "."): array for name, array in around.items()}


BASE = blocks(8)
TUNED = [tuned(one, 0.05, number) for number, one in enumerate(BASE)]
NEW, OTHER = blocks(2, seed=99)


def put(listed, at, *new):
    return [*listed[:at], *new, *listed[at:]]


def settled(pattern, strategy, *sides):
    """What comes of a merge where somebody decided about the tensors in conflict whose names fit."""
    names = [one.name for one in planned(*sides).conflicts]
    choices = {name: Choice(strategy) for name in names if fnmatchcase(name, pattern)}
    return merged(*sides, rules=Rules(resolutions=choices))


EDITED = {
    "inserted": model(put(BASE, 3, NEW)),
    "removed": model([*BASE[:4], *BASE[5:]]),
    "swapped": model([BASE[1], BASE[0], *BASE[2:]]),
    "swapped and tuned": model([TUNED[1], TUNED[0], *TUNED[2:]]),
    "all at once": model(put([TUNED[2], *TUNED[4:], TUNED[0]], 2, NEW)),
    "renamed": {name.replace("attn", "self_attention"): array for name, array in model(TUNED).items()},
    "wrapped": {f"model.{name}": array for name, array in model(BASE).items()},
    "sorted": dict(sorted(model(BASE).items())),
    "reversed": dict(reversed(model(TUNED).items())),
    "nothing left": {"x": numpy.arange(40, dtype="f4")},
    "recast": {name: array.astype("f8") for name, array in model(TUNED).items()},
    "resized": model(BASE, emb_weight=numpy.ones((120, 32), "f4")),
}


@pytest.mark.parametrize("edit", EDITED)
def test_what_one_side_did_is_what_comes_of_it(edit):
    base, side = model(BASE), EDITED[edit]
    assert same(merged(base, side, base), side)
    assert same(merged(base, base, side), side)
    assert same(merged(base, side, side), side)
    assert same(merged(base, base, side, base), side)


def test_a_block_put_in_by_one_side_and_weights_tuned_by_the_other_come_together():
    expected = model(put(TUNED, 3, NEW))
    assert same(merged(model(BASE), model(put(BASE, 3, NEW)), model(TUNED)), expected)
    assert same(merged(model(BASE), model(TUNED), model(put(BASE, 3, NEW))), expected)


def test_blocks_put_in_at_two_places_are_counted_anew():
    expected = model(put(put(TUNED, 6, OTHER), 3, NEW))
    ours, theirs = model(put(BASE, 3, NEW)), model(put(TUNED, 6, OTHER))
    assert same(merged(model(BASE), ours, theirs), expected)
    assert same(merged(model(BASE), theirs, ours), expected)


def test_blocks_put_in_and_taken_out_are_counted_anew():
    kept = [*TUNED[:4], BASE[4], *TUNED[5:]]
    ours, theirs = model([*BASE[:4], *BASE[5:]]), model(put(kept, 6, NEW))
    expected = model([*TUNED[:4], TUNED[5], NEW, *TUNED[6:]])
    assert same(merged(model(BASE), ours, theirs), expected)
    assert same(merged(model(BASE), theirs, ours), expected)


def test_the_same_block_put_in_by_both_is_there_once():
    ours, theirs = model(put(BASE, 3, NEW)), model(put(TUNED, 3, NEW))
    assert same(merged(model(BASE), ours, theirs), model(put(TUNED, 3, NEW)))


def test_two_blocks_put_in_at_one_place_wait_for_a_decision():
    base, ours, theirs = model(BASE), model(put(BASE, 3, NEW)), model(put(TUNED, 3, OTHER))
    plan = planned(base, ours, theirs)
    assert {one.conflict.kind for one in plan.conflicts} == {"added-twice"}
    assert {one.name.split(".")[1] for one in plan.conflicts} == {"3"}
    assert same(settled("h.3.*", "ours", base, ours, theirs), model(put(TUNED, 3, NEW)))
    assert same(settled("h.3.*", "theirs", base, ours, theirs), theirs)


def test_a_removed_block_that_was_tuned_is_one_conflict_and_goes_or_stays_as_a_whole():
    base, ours = model(BASE), model([*BASE[:4], *BASE[5:]])
    theirs = model([*TUNED[:4], changed(BASE[4], "mlp.up.weight"), *TUNED[5:]])
    plan = planned(base, ours, theirs)
    assert {one.name for one in plan.conflicts} == {f"h.4.{name}" for name in BASE[0]}
    assert {one.conflict.kind for one in plan.conflicts} == {"changed-and-removed"}
    assert len({one.name for one in (*plan.tensors, *plan.removed)}) == len(base)
    assert same(settled("h.4.*", "ours", base, ours, theirs), model([*TUNED[:4], *TUNED[5:]]))
    assert same(settled("h.4.*", "theirs", base, ours, theirs), theirs)


def test_a_removed_block_that_nobody_changed_is_gone():
    ours, theirs = model([*BASE[:4], *BASE[5:]]), model([*TUNED[:4], BASE[4], *TUNED[5:]])
    assert same(merged(model(BASE), ours, theirs), model([*TUNED[:4], *TUNED[5:]]))


def test_swapped_blocks_are_merged_with_what_they_were_though_all_names_are_the_same():
    first = [tuned(one, 0.01, 50 + number) for number, one in enumerate(BASE)]
    ours = model([*first[:2], first[5], *first[3:5], first[2], *first[6:]])
    plan = planned(model(BASE), ours, model(TUNED))
    (found,) = [one.action for one in plan.tensors if one.name == "h.2.attn.q.weight"]
    assert found.base.name == "h.5.attn.q.weight"
    assert {(place.side, place.name) for place in found.sides} == {
        (0, "h.2.attn.q.weight"),
        (1, "h.5.attn.q.weight"),
    }


def test_two_renamings_of_other_steps_come_together():
    base = model(TUNED)
    ours = {name.replace("attn", "self"): array for name, array in base.items()}
    theirs = {f"model.{name}".replace("mlp", "ff"): array for name, array in base.items()}
    expected = {name.replace("attn", "self"): array for name, array in theirs.items()}
    assert same(merged(base, ours, theirs), expected)
    assert same(merged(base, theirs, ours), expected)


def test_two_names_for_one_tensor_wait_for_a_decision():
    base = model(BASE)
    ours = {name.replace("emb", "embedding"): array for name, array in base.items()}
    theirs = {name.replace("emb", "wte"): array for name, array in changed(base, "emb.weight").items()}
    (conflict,) = planned(base, ours, theirs).conflicts
    assert (conflict.name, conflict.conflict.kind) == ("embedding.weight", "renamed-twice")
    assert same(settled("embedding.*", "theirs", base, ours, theirs), theirs)
    expected = {name.replace("wte", "embedding"): array for name, array in theirs.items()}
    assert same(settled("embedding.*", "ours", base, ours, theirs), expected)


def test_both_may_rename_a_tensor_alike():
    base = model(BASE)
    ours = {name.replace("emb", "wte"): array for name, array in base.items()}
    theirs = {name.replace("emb", "wte"): array for name, array in changed(base, "emb.weight").items()}
    assert same(merged(base, ours, theirs), theirs)


def test_what_is_put_into_a_module_goes_where_the_module_went():
    adapter = {"h.5.adapter.weight": numpy.arange(64, dtype="f4")}
    moved = {"h.6.adapter.weight": adapter["h.5.adapter.weight"]}
    expected = model(put(BASE, 3, NEW)) | moved
    found = merged(model(BASE), model(put(BASE, 3, NEW)), model(BASE) | adapter)
    assert same(found, {name: expected[name] for name in found})
    assert set(found) == set(expected)


def test_a_name_that_one_side_gave_to_an_old_tensor_and_the_other_to_a_new_one_waits_for_a_decision():
    base = model(BASE)
    ours = {name.replace("emb", "table"): array for name, array in base.items()}
    theirs = base | {"table.weight": numpy.arange(99, dtype="f4")}
    plan = planned(base, ours, theirs)
    assert sorted(one.conflict.kind for one in plan.conflicts) == ["added-twice", "renamed-twice"]
    assert all("table.weight" in one.conflict.reason for one in plan.conflicts)
    assert same(settled("table.*", "ours", base, ours, theirs), ours)
    found = settled("table.*", "theirs", base, ours, theirs)
    assert same({name: found[name] for name in theirs}, theirs)


def test_added_tensors_stand_behind_what_is_before_them_on_their_side():
    base = {name: numpy.full(20, number, "f4") for number, name in enumerate("abcd")}
    new = {name: numpy.arange(20, dtype="f4") + ord(name) for name in "uvwxyz"}
    ours = {name: (base | new)[name] for name in "uavbwcd"}
    theirs = {name: (base | new)[name] for name in "abxcydz"}
    assert "".join(merged(base, ours, theirs)) == "uavbwxcydz"
    assert "".join(merged(None, ours, theirs)) == "uavbwxcydz"


def test_without_a_base_names_alone_say_what_is_what():
    ours, theirs = model(BASE), model(TUNED)
    plan = planned(None, ours, theirs, rules=Rules(Choice("linear")))
    assert [one.name for one in plan.tensors] == list(ours)
    assert {one.state for one in plan.tensors} == {"unchanged", "merged"}
    found = merged(None, ours, theirs, rules=Rules(Choice("linear")))
    assert numpy.allclose(found["emb.weight"], (ours["emb.weight"] + theirs["emb.weight"]) / 2)


@dataclass
class Script:
    """Edits of blocks `first` to `first + 3`, and of what is around them, that another script does not touch."""

    first: int
    tuned: set[int]
    removed: set[int]
    swapped: bool
    inserted: list[tuple[int, int]]
    names: dict[str, str] = field(default_factory=dict)
    around: dict[str, numpy.ndarray] = field(default_factory=dict)

    def apply(self, order, held, names, around):
        for number in self.tuned:
            held[self.first + number] = tuned(BASE[self.first + number], 0.05, 1000 + number)
        if self.swapped:
            one, other = order.index(self.first), order.index(self.first + 1)
            order[one], order[other] = order[other], order[one]
        for at, seed in self.inserted:
            held[seed] = blocks(1, seed=seed)[0]
            order.insert(order.index(self.first + at) + 1, seed)
        order[:] = [one for one in order if one - self.first not in self.removed or one >= 100]
        names.update(self.names)
        around.update(self.around)


def edited(*scripts):
    order, held, names, around = list(range(8)), dict(enumerate(BASE)), {}, dict(AROUND)
    for script in scripts:
        script.apply(order, held, names, around)
    made = {}
    for name, array in (named([held[one] for one in order]) | around).items():
        for old, new in names.items():
            name = name.replace(old, new)
        made[name] = array
    return made


def scripts(first, seeds, names, around):
    grown = {around: numpy.concatenate([AROUND[around] * 1.01, numpy.ones((3, 32), "f4")]).astype("f4")}
    return st.builds(
        Script,
        st.just(first),
        st.sets(st.integers(0, 3)),
        st.sets(st.integers(2, 3), max_size=1),
        st.booleans(),
        st.lists(st.tuples(st.integers(0, 1), st.sampled_from(seeds)), max_size=2, unique_by=lambda one: one[1]),
        st.sampled_from([{}, names]),
        st.sampled_from([{}, grown, {f"{around[:2]}.new": numpy.arange(first, 50.0 + first)}]),
    )


@settings(max_examples=25, deadline=None)
@given(
    scripts(0, (100, 101), {"attn": "self"}, "emb.weight"),
    scripts(4, (200, 201), {"mlp": "ff", "norm": "ln"}, "head.weight"),
)
def test_edits_of_both_sides_make_what_both_together_make(one, other):
    expected = edited(one, other)
    found = merged(edited(), edited(one), edited(other))
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }
    back = merged(edited(), edited(other), edited(one))
    assert same({name: back[name] for name in expected}, {name: found[name] for name in expected})


def test_very_many_tensors_are_put_beside_each_other_in_seconds():
    count = 2_000
    rows = numpy.random.default_rng(0).standard_normal((count, 8, 8), dtype="f4")
    base = {f"layer.{number}.w": row for number, row in enumerate(rows)}
    ours = {f"layer.{number + (number >= 70)}.w": row for number, row in enumerate(rows * 1.5)}
    theirs = {f"layer.{number + (number >= 700)}.w": row for number, row in enumerate(rows)}
    ours["layer.70.w"] = theirs["layer.700.w"] = numpy.eye(8, dtype="f4")
    began = time.process_time()
    plan = planned(base, ours, theirs)
    assert time.process_time() - began < 20
    assert len(plan.tensors) == count + 2
    assert not plan.conflicts
