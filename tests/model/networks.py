"""Networks whose layers are known, and what became of them."""

from __future__ import annotations

import numpy

LAYERS = ("attn.q", "attn.k", "attn.v", "attn.o", "mlp.up", "mlp.down")


def block(draw, width=64, inner=128):
    """One block of a transformer: four square layers, two oblong ones, a norm, all but the norm with a bias."""
    shapes = dict.fromkeys(LAYERS[:4], (width, width)) | {"mlp.up": (inner, width), "mlp.down": (width, inner)}
    made = {}
    for name, shape in shapes.items():
        made[f"{name}.weight"] = draw.standard_normal(shape, dtype="f4") * numpy.float32(0.02)
        made[f"{name}.bias"] = numpy.zeros(shape[0], "f4")
    made["norm.weight"], made["norm.bias"] = numpy.ones(width, "f4"), numpy.zeros(width, "f4")
    return made


def tuned(arrays, share, seed):
    """The arrays after some training: noise of that share of their deviation, and a little where there was none."""
    draw = numpy.random.default_rng(seed)
    made = {}
    for name, array in arrays.items():
        noise = draw.standard_normal(array.shape, dtype="f4") * numpy.float32(share * (array.std() or 0.01))
        made[name] = (array + noise).astype(array.dtype)
    return made


def named(blocks, stack="h"):
    """Blocks as one model, numbered in their order."""
    return {f"{stack}.{number}.{name}": array for number, one in enumerate(blocks) for name, array in one.items()}


def whole(draw, blocks):
    """Blocks with what is around them: an embedding, a head and a last norm."""
    around = {
        "emb.weight": draw.standard_normal((500, 64), dtype="f4"),
        "head.weight": draw.standard_normal((500, 64), dtype="f4"),
        "norm.weight": numpy.ones(64, "f4"),
        "norm.bias": numpy.zeros(64, "f4"),
    }
    return named(blocks) | around


FAMILY = {
    "attn.q": "self_attn.q_proj", "attn.k": "self_attn.k_proj", "attn.v": "self_attn.v_proj",
    "attn.o": "self_attn.dense", "mlp.up": "ff.fc1", "mlp.down": "ff.fc2", "norm": "ln_x",
    "emb": "transformer.wte", "head": "lm_head",
}  # fmt: skip


def of_other_family(name, keras=False):
    """The name of a tensor of `whole` in another library; with `keras`, members have other names, too."""
    layer, _, member = name.rpartition(".")
    if layer.startswith("h."):
        _, number, layer = layer.split(".", 2)
        made = f"transformer.layer.{number}.{FAMILY[layer]}"
    else:
        made = "transformer.ln_f" if layer == "norm" else FAMILY[layer]
    if keras:
        norm = ".ln_" in made
        member = {"weight": "gamma" if norm else "kernel", "bias": "beta" if norm else "bias"}[member]
    return f"{made}.{member}"


def scores(alignment, truth):
    """Precision and recall of an alignment, given what each tensor became."""
    found = {pair.before: pair.after for pair in alignment.pairs}
    right = sum(truth.get(before) == after for before, after in found.items())
    return right / len(found), right / len(truth)
