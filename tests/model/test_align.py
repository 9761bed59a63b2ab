"""Which tensor became which: cases whose answer is known, the hard ones, and what there is nothing to say about."""

from __future__ import annotations

import time

import ml_dtypes
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.model.align import align
from lamella.testing.weights import Weights
from tests.model.networks import block, named, of_other_family, scores, tuned, whole


def aligned(before, after):
    """Align, and hold the result against what holds of all of them."""
    found = align(Weights(before), Weights(after))
    assert sorted([pair.before for pair in found.pairs] + list(found.removed)) == sorted(before)
    assert sorted([pair.after for pair in found.pairs] + list(found.added)) == sorted(after)
    assert all(0 <= one.confidence <= 1 for one in (*found.pairs, *found.layers))
    return found


def blocks(count, seed=1):
    draw = numpy.random.default_rng(seed)
    return [block(draw) for _ in range(count)]


def retrained(listed, share=0.05, seed=100):
    return [tuned(one, share, seed + number) for number, one in enumerate(listed)]


def with_one_inserted(listed, at, share=0.05):
    """A model with one block more, and which tensor each one became."""
    after = retrained(listed, share)
    truth = {f"h.{n}.{name}": f"h.{n + (n >= at)}.{name}" for n in range(len(listed)) for name in listed[0]}
    return named([*after[:at], *blocks(1, seed=99), *after[at:]]), truth


def test_inserted_deleted_and_swapped_blocks_are_told_apart():
    old = blocks(24)
    now = list(enumerate(retrained(old)))
    now[2], now[3] = now[3], now[2]
    del now[15]
    now.insert(7, (None, *blocks(1, seed=99)))
    truth = {
        f"h.{was}.{name}": f"h.{number}.{name}"
        for number, (was, _) in enumerate(now)
        if was is not None
        for name in old[0]
    }
    found = aligned(named(old), named([one for _, one in now]))
    precision, recall = scores(found, truth)
    assert precision == 1
    assert recall == 1
    assert {pair.before.split(".")[1] for pair in found.layers if pair.moved} in ({"2"}, {"3"})
    assert {name.rpartition(".")[0].split(".")[1] for name in found.removed} == {"15"}
    assert {name.split(".")[1] for name in found.added_layers} == {"7"}


@pytest.mark.parametrize("share", [1, 2, 3, 5])
def test_blocks_are_found_together_when_training_left_little_of_their_weights(share):
    old = blocks(12)
    after, truth = with_one_inserted(old, 4, share)
    assert scores(aligned(named(old), after), truth) == (1, 1)


def test_the_same_model_is_paired_by_content_and_nothing_is_read():
    model = whole(numpy.random.default_rng(0), blocks(4))
    found = aligned(model, model)
    assert all(pair.before == pair.after for pair in found.pairs)
    assert len(found.pairs) == len(model)
    assert min(pair.confidence for pair in found.pairs) >= 0.9


def grown(array, draw):
    """An array of a network that was made half as wide again, in the corner of the new one."""
    shape = tuple({64: 96, 128: 192}.get(extent, extent) for extent in array.shape)
    made = (draw.standard_normal(shape) * 0.02 if array.std() else numpy.full(shape, array.flat[0])).astype("f4")
    made[tuple(slice(0, extent) for extent in array.shape)] = array
    return made


def test_a_widened_network_is_found_where_the_two_overlap():
    draw = numpy.random.default_rng(5)
    old = whole(draw, blocks(8))
    found = aligned(old, {name: grown(array, draw) for name, array in tuned(old, 0.05, 3).items()})
    assert scores(found, {name: name for name in old}) == (1, 1)
    assert {pair.reason for pair in found.pairs} == {"resized"}


def test_a_widened_network_with_an_inserted_block_is_not_paired_by_its_names():
    draw = numpy.random.default_rng(5)
    old = blocks(8)
    after, truth = with_one_inserted(old, 3)
    found = aligned(named(old), {name: grown(array, draw) for name, array in after.items()})
    assert scores(found, truth) == (1, 1)


def pruned(arrays, kept):
    """A network some of whose inner units are gone: rows of one layer, and columns of the next."""
    made = dict(arrays)
    for name, array in arrays.items():
        if ".mlp.up." in name:
            made[name] = array[kept].copy()
        elif name.endswith("mlp.down.weight"):
            made[name] = array[:, kept].copy()
    return made


@pytest.mark.parametrize("share", [0, 0.05])
def test_a_pruned_network_is_found_by_the_rows_that_it_kept(share):
    kept = numpy.sort(numpy.random.default_rng(3).permutation(128)[:80])
    old = blocks(8)
    after, truth = with_one_inserted(old, 3, share)
    found = aligned(named(old), pruned(after, kept))
    assert scores(found, truth) == (1, 1)
    resized = [pair for pair in found.pairs if pair.reason == "resized" and pair.before.endswith("weight")]
    assert len(resized) == 2 * 8
    assert min(pair.confidence for pair in resized) >= 0.9


def test_a_network_with_nine_of_ten_weights_set_to_zero_is_the_same():
    old, truth = blocks(8), {}
    after, truth = with_one_inserted(old, 3)
    for name, array in after.items():
        if array.ndim == 2:
            after[name] = numpy.where(abs(array) >= numpy.quantile(abs(array), 0.9), array, 0).astype("f4")
    assert scores(aligned(named(old), after), truth) == (1, 1)


@pytest.mark.parametrize("keras", [False, True])
@pytest.mark.parametrize("dtype", ["f4", ml_dtypes.bfloat16])
def test_models_of_two_libraries_are_matched_after_training(keras, dtype):
    old = whole(numpy.random.default_rng(0), blocks(8))
    truth = {name: of_other_family(name, keras) for name in old}
    after = {truth[name]: array.astype(dtype) for name, array in tuned(old, 0.05, 4).items()}
    assert scores(aligned(old, after), truth) == (1, 1)


@pytest.mark.parametrize("share", [0, 0.05])
def test_other_names_for_everything_change_nothing(share):
    old = tuned(whole(numpy.random.default_rng(0), blocks(8)), 0.05, 8)  # so that no two are the same
    order = numpy.random.default_rng(2).permutation(len(old))
    truth = {name: f"t{number}" for name, number in zip(old, order, strict=True)}
    now = tuned(old, share, 9) if share else old
    assert scores(aligned(old, {truth[name]: now[name] for name in sorted(now, key=truth.get)}), truth) == (1, 1)


def test_weights_win_over_a_name():
    draw = numpy.random.default_rng(0)
    a, b = draw.standard_normal((2, 64, 64), dtype="f4")
    found = aligned({"first.weight": a, "second.weight": b}, {"first.weight": b * 1.5, "second.weight": a * 1.5})
    assert {(pair.before, pair.after) for pair in found.pairs} == {
        ("first.weight", "second.weight"),
        ("second.weight", "first.weight"),
    }
    assert {pair.reason for pair in found.pairs} == {"weights"}


def test_a_layer_that_was_trained_anew_keeps_its_name_with_little_confidence():
    draw = numpy.random.default_rng(0)
    old = whole(draw, blocks(3))
    now = tuned(old, 0.05, 2) | {"head.weight": draw.standard_normal((500, 64), dtype="f4")}
    found = aligned(old, now)
    head = next(pair for pair in found.pairs if pair.before == "head.weight")
    assert (head.after, head.reason) == ("head.weight", "name")
    assert head.confidence < 0.3
    assert min(pair.confidence for pair in found.pairs if pair.before != "head.weight") > 0.3


def test_a_layer_that_was_trained_anew_follows_its_block_and_not_its_name():
    old = blocks(6)
    after, truth = with_one_inserted(old, 2)
    anew = numpy.random.default_rng(7).standard_normal((128, 64), dtype="f4")
    found = aligned(named(old), after | {"h.5.mlp.up.weight": anew})
    assert scores(found, truth) == (1, 1)
    assert next(pair for pair in found.pairs if pair.after == "h.5.mlp.up.weight").confidence < 0.3


def test_a_head_for_more_classes_is_the_same_head():
    draw = numpy.random.default_rng(0)
    old = whole(draw, blocks(3))
    now = tuned(old, 0.05, 2) | {"head.weight": draw.standard_normal((700, 64), dtype="f4")}
    found = aligned(old, now)
    head = next(pair for pair in found.pairs if pair.before == "head.weight")
    assert (head.after, head.reason) == ("head.weight", "resized")
    assert head.confidence < 0.3


def test_what_is_the_same_in_all_blocks_goes_with_its_block():
    mask = numpy.tri(32, dtype=bool)
    table = numpy.linspace(0, 1, 64, dtype="f4")
    old = [one | {"attn.mask": mask, "attn.inv_freq": table} for one in blocks(6)]
    now = [one | {"attn.mask": mask, "attn.inv_freq": table} for one in retrained(blocks(6))]
    now.insert(2, blocks(1, seed=9)[0] | {"attn.mask": mask, "attn.inv_freq": table})
    truth = {f"h.{n}.{name}": f"h.{n + (n >= 2)}.{name}" for n in range(6) for name in old[0]}
    assert scores(aligned(named(old), named(now)), truth) == (1, 1)


@pytest.mark.parametrize("renamed", [False, True])
def test_norms_that_are_alike_in_all_blocks_go_with_their_block(renamed):
    draw = numpy.random.default_rng(0)
    common = [draw.standard_normal(64, dtype="f4") for _ in range(2)]

    def with_norms(one, share):
        norms = [vector + numpy.float32(share) * draw.standard_normal(64, dtype="f4") for vector in common]
        return one | {"norm.weight": 1 + norms[0], "norm.bias": norms[1]}

    old = [with_norms(one, 0.4) for one in blocks(8)]  # with a cosine of .85 to each other
    now = list(enumerate(retrained(old, 0.1)))
    del now[5]
    now.insert(2, (None, with_norms(blocks(1, seed=9)[0], 0.4)))
    order = [name for _, one in now for name in one]
    names = {name: name.replace("norm", "ln").replace("attn", "self") if renamed else name for name in order}
    after = {f"h.{n}.{names[name]}": array for n, (_, one) in enumerate(now) for name, array in one.items()}
    truth = {
        f"h.{was}.{name}": f"h.{n}.{names[name]}" for n, (was, one) in enumerate(now) if was is not None for name in one
    }
    assert scores(aligned(named(old), after), truth) == (1, 1)


def test_experts_that_changed_places_are_found_within_their_block():
    draw = numpy.random.default_rng(0)
    layers = [[draw.standard_normal((32, 64), dtype="f4") for _ in range(8)] for _ in range(3)]
    order = draw.permutation(8).tolist()
    old = {f"l.{a}.experts.{b}.w": layers[a][b] for a in range(3) for b in range(8)}
    now = {f"l.{a}.experts.{b}.w": layers[a][order[b]] * 1.01 for a in range(3) for b in range(8)}
    truth = {f"l.{a}.experts.{order[b]}.w": f"l.{a}.experts.{b}.w" for a in range(3) for b in range(8)}
    assert scores(aligned(old, now), truth) == (1, 1)


def test_a_copied_stack_is_paired_once_and_its_copies_are_new():
    old = blocks(8)
    found = aligned(named(old), named(retrained(old[:6]) + retrained(old[2:], seed=300)))
    assert not found.removed
    assert len(found.added) == 4 * len(old[0])
    assert all(pair.before == pair.after for pair in found.pairs if int(pair.before.split(".")[1]) < 6)


def test_a_quantised_network_goes_by_what_is_around_it_and_by_its_names():
    old = blocks(4)
    after, truth = with_one_inserted(old, 1)
    quantised = {
        name: numpy.round(array * 1000).astype("i1") if array.ndim == 2 and ".mlp." in name else array
        for name, array in after.items()
    }
    found = aligned(named(old), quantised)
    assert scores(found, truth) == (1, 1)
    assert {pair.confidence for pair in found.pairs if pair.before.endswith("mlp.up.weight")} == {0.8}
    every = {name: numpy.round(array * 1000).astype("i1") for name, array in named(old).items()}
    assert scores(aligned(named(old), every), {name: name for name in every}) == (1, 1)


@pytest.mark.parametrize("shape", [(2, 4), (4, 4), (3, 6), (5, 5), (10, 10)])
def test_small_strangers_are_not_alike(shape):
    draw = numpy.random.default_rng(0)
    old = {f"a.{number}.w": draw.standard_normal(shape, dtype="f4") for number in range(150)}
    assert not aligned(old, {f"b{number}": draw.standard_normal(shape, dtype="f4") for number in range(150)}).pairs
    if shape != (2, 4):
        now = {f"b{number}": array + numpy.float32(0.01) for number, array in enumerate(old.values())}
        assert scores(aligned(old, now), dict(zip(old, now, strict=True))) == (1, 1)


@pytest.mark.parametrize("shape", [(3, 4), (16, 16), (40, 8), (8, 300)])
def test_strangers_of_other_sizes_are_no_resized_tensors(shape):
    draw = numpy.random.default_rng(0)
    old = {f"a.{number}.w": draw.standard_normal(shape, dtype="f4") for number in range(100)}
    for grown in ((shape[0] + 3, shape[1]), (shape[0], shape[1] + 3), (shape[0] + 1, shape[1] + 1)):
        now = {f"b{number}": draw.standard_normal(grown, dtype="f4") for number in range(100)}
        assert not aligned(old, now).pairs


def test_nothing_in_common_is_told_as_that():
    draw = numpy.random.default_rng(0)
    now = {f"x{number}": draw.standard_normal((33, number + 1), dtype="f4") for number in range(60)}
    old = whole(draw, blocks(2))
    found = aligned(old, now)
    assert not found.pairs
    assert set(found.removed) == set(old)


ODD = {
    "empty": numpy.zeros((0, 4), "f4"),
    "scalar": numpy.float32(3),
    "zeros": numpy.zeros(100, "f4"),
    "ones": numpy.ones((20, 20), "f4"),
    "steps": numpy.arange(40, dtype="i8"),
    "flags": numpy.array([True, False] * 20),
    "complex": numpy.exp(1j * numpy.arange(64)).astype("c8"),
    "unfinite": numpy.array([numpy.nan, numpy.inf, -numpy.inf, 1] * 10, "f4"),
    "small": numpy.array([1, 2], "f4"),
    "huge": numpy.array([1e308, -1e308] * 20),
}


@settings(max_examples=60, deadline=None)
@given(
    kept=st.sets(st.sampled_from(sorted(ODD))),
    changed=st.sets(st.sampled_from(sorted(ODD))),
    renamed=st.sets(st.sampled_from(sorted(ODD))),
)
def test_odd_tensors_of_one_name_stay_together(kept, changed, renamed):
    old = {name: ODD[name] for name in sorted(kept)}
    now = {
        f"new.{name}" if name in renamed else name: ~array if name in changed and array.dtype == bool else array
        for name, array in old.items()
    }
    found = aligned(old, now)
    same = {name: name for name in kept - renamed - {"ones", "zeros"}}
    assert {pair.before: pair.after for pair in found.pairs if pair.before in same} == same


@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(range(6)),
    gone=st.integers(0, 5),
    new=st.integers(0, 5),
    share=st.sampled_from([0, 0.05, 0.5]),
)
def test_any_order_of_blocks_is_found_again(order, gone, new, share):
    old = blocks(6)
    after = retrained(old, share)
    now = [(was, after[was]) for was in order if was != gone]
    now.insert(new, (None, *blocks(1, seed=50)))
    truth = {f"h.{was}.{name}": f"h.{n}.{name}" for n, (was, _) in enumerate(now) if was is not None for name in old[0]}
    found = {pair.before: pair.after for pair in aligned(named(old), named([one for _, one in now])).pairs}
    assert {name: found.get(name) for name in truth} == truth


STEPS = st.sampled_from(["a", "b", "h", "0", "1", "12", "weight", "bias", "kernel", "vars", "l_1"])
NAMES = st.lists(STEPS, min_size=1, max_size=4).map(".".join)
SIZES = (0, 1, 1e4, 1e300)
ARRAYS = st.builds(
    lambda shape, dtype, seed: (numpy.random.default_rng(seed).standard_normal(shape) * SIZES[seed]).astype(dtype),
    st.lists(st.integers(0, 12), max_size=3),
    st.sampled_from(["f4", "f2", "f8", "c16", "?"]),
    st.integers(0, 3),
)
MODELS = st.dictionaries(NAMES, ARRAYS, max_size=12)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@settings(max_examples=150, deadline=None)
@given(MODELS, MODELS)
def test_any_two_models_are_put_beside_each_other(one, other):
    found = aligned(one, other)
    back = aligned(other, one)
    assert len(found.layers) + len(found.removed_layers) == len(back.layers) + len(back.added_layers)


def test_the_same_question_has_the_same_answer():
    old = blocks(6)
    after, _ = with_one_inserted(old, 2, 0.5)
    assert align(Weights(named(old)), Weights(after)) == align(Weights(named(old)), Weights(after))


@pytest.mark.parametrize("values", [2, 64])
def test_very_many_tensors_take_time_in_proportion(values):
    def seconds(count):
        data = numpy.random.default_rng(0).standard_normal((count, values), dtype="f4")
        old = Weights({f"a.{number}.w": row for number, row in enumerate(data)})
        now = Weights({f"a.{number}.w": row for number, row in enumerate(data * 1.5 + 1)})
        began = time.process_time()
        assert len(align(old, now).pairs) == count
        return time.process_time() - began

    seconds(100)
    few, many = seconds(1000), seconds(10_000)
    assert many < 40 * few
