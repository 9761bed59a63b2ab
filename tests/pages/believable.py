"""A believable comparison: a transformer of twelve blocks and 200 tensors, fine-tuned, with one block put in."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import exp

from lamella.core.dtypes import dtype_named
from lamella.core.graphs import OPERATORS, Graph, Node, Port
from lamella.core.tensors import TensorSpec
from lamella.model.alignment import BLOCK, CONTENT, NAME, Alignment, LayerPair, Pair
from lamella.model.difference import Histogram, Moved, Spectrum, TensorDifference
from lamella.model.graph_difference import (
    ADDED,
    CHANGED,
    MOVED,
    RENAMED,
    REWIRED,
    AttributeChange,
    GraphDifference,
    NodeChange,
)
from lamella.model.measures import Measures
from lamella.ops.changes import MetadataChange
from lamella.ops.comparison import InterfaceChange, ModelComparison, Part, Total
from lamella.pages.history_page import TensorVersion

WIDTH, BLOCKS, INSERTED = 768, 12, 5

MODULES = {
    "ln_1": (WIDTH,),
    "attn.q_proj": (WIDTH, WIDTH),
    "attn.k_proj": (WIDTH, WIDTH),
    "attn.v_proj": (WIDTH, WIDTH),
    "attn.out_proj": (WIDTH, WIDTH),
    "ln_2": (WIDTH,),
    "mlp.up_proj": (4 * WIDTH, WIDTH),
    "mlp.down_proj": (WIDTH, 4 * WIDTH),
}
AROUND = {
    "embed.tokens.weight": (50_257, WIDTH),
    "embed.positions.weight": (1024, WIDTH),
    "embed.position_ids": (1, 1024),
    "embed.scale": (),
    "ln_f.weight": (WIDTH,),
    "ln_f.bias": (WIDTH,),
    "classifier.weight": (4, WIDTH),
    "classifier.bias": (4,),
}


def names_of_block(number: int) -> dict[str, tuple[int, ...]]:
    return {
        f"h.{number}.{module}.{leaf}": shape if leaf == "weight" else shape[:1]
        for module, shape in MODULES.items()
        for leaf in ("weight", "bias")
    }


def measures(chance: random.Random, count: int, relative: float, *, ulp_max: int = 0) -> Measures:
    ulp_max = ulp_max or int(4e5 * relative * (1 + chance.random()))
    before = count * 0.02**2
    difference = before * relative**2
    changed = int(count * min(1.0, 0.4 + 40 * relative))
    ulps = [count - changed]
    while 2 ** (len(ulps) - 1) <= ulp_max:
        ulps.append(int(changed * exp(-(((len(ulps) - 8) / 3) ** 2)) / 5) + chance.randrange(3))
    return Measures(
        count=count,
        changed=changed,
        above=changed // 2,
        finite=count,
        both=0,
        sum_absolute=count * 0.8 * 0.02 * relative,
        max_absolute=0.2 * relative,
        dot=before,
        squares_before=before,
        squares_after=before * (1 + relative**2),
        squares_difference=difference,
        nan_before=0,
        nan_after=0,
        infinite_before=0,
        infinite_after=0,
        ulp_max=ulp_max,
        ulps=tuple(ulps),
    )


def spectrum(relative: float) -> Spectrum:
    """Return singular values that fall off quickly."""
    values = tuple(relative * exp(-number / 6) for number in range(32))
    return Spectrum(values, 14.2, 16, 16, exact=False)


def histogram(shift: float) -> Histogram:
    edges = tuple(-0.1 + 0.2 * number / 60 for number in range(61))
    centres = [(left + right) / 2 for left, right in pairwise(edges)]
    before = tuple(int(20_000 * exp(-((x / 0.022) ** 2))) for x in centres)
    after = tuple(int(18_000 * exp(-(((x - shift) / 0.026) ** 2))) for x in centres)
    return Histogram(edges, before, after)


def difference(
    chance: random.Random, before: str, after: str, shape: tuple[int, ...], relative: float
) -> TensorDifference:
    dtype = dtype_named("f32")
    count = 1
    for extent in shape:
        count *= extent
    pair = Pair(before, after, BLOCK if before != after else NAME, 0.99)
    found = TensorDifference(TensorSpec(before, dtype, shape), TensorSpec(after, dtype, shape), pair, same=not relative)
    if not relative:
        return replace(found, pair=replace(pair, reason=CONTENT, confidence=1.0))
    rows = sorted(
        (Moved(chance.randrange(shape[0] or 1), relative * 0.03 * chance.random()) for _ in range(16)),
        key=lambda r: -r.mean_absolute,
    )
    matrix = len(shape) > 1
    return replace(
        found,
        measures=measures(chance, count, relative),
        epsilon=1e-6,
        rows=tuple(rows) if matrix else (),
        row_points=3 * shape[0] // 4,
        row_count=shape[0],
        spectrum=spectrum(relative) if matrix else None,
        histogram=histogram(relative / 20) if matrix else None,
    )


def tensors(chance: random.Random) -> list[TensorDifference]:
    made = []
    for name, shape in AROUND.items():
        relative = {"embed.tokens.weight": 0.0021, "classifier.weight": 0.71, "classifier.bias": 0.93}.get(name, 0.0)
        made.append(difference(chance, name, name, shape, relative or (0.0007 if name.startswith("ln_f") else 0.0)))
    for number in range(BLOCKS):
        now = number + (number >= INSERTED)
        for before, after in zip(names_of_block(number), names_of_block(now), strict=True):
            depth = 0.0004 * exp(0.33 * number)
            part = 0.2 if ".ln_" in after else 2.2 if ".q_proj" in after or ".v_proj" in after else 1.0
            relative = 0.0 if number < 2 and ".k_proj" in after else depth * part * (0.7 + 0.6 * chance.random())
            made.append(difference(chance, before, after, names_of_block(now)[after], relative))
    made[5] = replace(made[5], measures=measures(chance, WIDTH, 3e-8, ulp_max=1))
    made[9] = replace(made[9], after=replace(made[9].after, dtype=dtype_named("bf16")))
    made[2] = replace(made[2], same=False, unread="whole numbers of another kind")
    return made


@cache
def comparison(seed: int = 1) -> ModelComparison:
    chance = random.Random(seed)
    found = tensors(chance)
    layers = [
        LayerPair(f"h.{n}.{module}", f"h.{n + (n >= INSERTED)}.{module}", BLOCK, 0.99, moved=False)
        for n in range(BLOCKS)
        for module in MODULES
    ]
    added = tuple(names_of_block(INSERTED))
    alignment = Alignment(
        tuple(difference.pair for difference in found),
        (),
        added,
        tuple(layers),
        (),
        tuple(f"h.{INSERTED}.{module}" for module in MODULES),
    )
    parts = (
        Part("structure", 0.4, 0.041),
        Part("parameters", 0.3, 0.0192),
        Part("data", 0.2, 0.25),
        Part("training", 0.1, None),
    )
    return ModelComparison(
        before="runs/base/model.safetensors",
        after="runs/tuned/model.safetensors",
        format_before="safetensors",
        format_after="safetensors",
        model_id_before="3f2a9c1be0d47788aa01",
        model_id_after="9c1b77d02e64f1a3bb42",
        parameters_before=124_443_652,
        parameters_after=131_531_524,
        interface=(
            InterfaceChange("output", "logits", "f32 [batch, 2]", "f32 [batch, 4]"),
            InterfaceChange("classes", "", "2", "4"),
        ),
        graph=graph_difference(),
        alignment=alignment,
        tensors=tuple(found),
        training=(
            MetadataChange("learning_rate", "5e-5", "2e-5"),
            MetadataChange("epochs", "3", "4"),
            MetadataChange("torch", "2.12.1", "2.13.0"),
        ),
        other=(MetadataChange("notes", None, "tuned on reviews"),),
        total=Total(parts),
    )


OPERATIONS = (
    ("ln_1", "LayerNormalization", ("{in}",)),
    ("attn.q_proj", "MatMul", ("{ln_1}",)),
    ("attn.k_proj", "MatMul", ("{ln_1}",)),
    ("attn.v_proj", "MatMul", ("{ln_1}",)),
    ("attn.scores", "MatMul", ("{attn.q_proj}", "{attn.k_proj}")),
    ("attn.mask", "Add", ("{attn.scores}", "@mask")),
    ("attn.softmax", "Softmax", ("{attn.mask}",)),
    ("attn.mix", "MatMul", ("{attn.softmax}", "{attn.v_proj}")),
    ("attn.out_proj", "MatMul", ("{attn.mix}",)),
    ("residual_1", "Add", ("{in}", "{attn.out_proj}")),
    ("ln_2", "LayerNormalization", ("{residual_1}",)),
    ("mlp.up_proj", "MatMul", ("{ln_2}",)),
    ("mlp.act", "Gelu", ("{mlp.up_proj}",)),
    ("mlp.down_proj", "MatMul", ("{mlp.act}",)),
    ("residual_2", "Add", ("{residual_1}", "{mlp.down_proj}")),
)


def graph(blocks: int, *, act: str = "Gelu") -> Graph:
    nodes = [
        Node(
            "embed.tokens",
            "Gather",
            "embed",
            (),
            ("@input_ids",),
            (("weight", "embed.tokens.weight"),),
            ("batch", "length", WIDTH),
        ),
        Node(
            "embed.add",
            "Add",
            "embed",
            (),
            ("embed.tokens",),
            (("input 1", "embed.positions.weight"),),
            ("batch", "length", WIDTH),
        ),
    ]
    last = "embed.add"
    for number in range(blocks):
        names = {name: f"h.{number}.{name}" for name, _, _ in OPERATIONS}
        for name, op, inputs in OPERATIONS:
            taken = [last if given == "{in}" else names.get(given.strip("{}"), given) for given in inputs]
            module = (
                f"h.{number}.{name}" if "." not in name or name.endswith("proj") else f"h.{number}.{name.split('.')[0]}"
            )
            attributes = (("axis", "-1"), ("epsilon", "1e-05")) if op == "LayerNormalization" else ()
            weight = (("weight", f"h.{number}.{name}.weight"),) if name in MODULES else ()
            shape = (
                ("batch", 12, "length", "length")
                if name in ("attn.scores", "attn.mask", "attn.softmax")
                else ("batch", "length", WIDTH)
            )
            nodes.append(
                Node(names[name], act if op == "Gelu" else op, module, attributes, tuple(taken), weight, shape)
            )
        last = names["residual_2"]
    nodes.append(
        Node(
            "ln_f",
            "LayerNormalization",
            "ln_f",
            (("axis", "-1"), ("epsilon", "1e-05")),
            (last,),
            (("weight", "ln_f.weight"),),
            ("batch", "length", WIDTH),
        )
    )
    nodes.append(
        Node("classifier", "Gemm", "classifier", (), ("ln_f",), (("weight", "classifier.weight"),), ("batch", 4))
    )
    inputs = (Port("input_ids", "i64", ("batch", "length")), Port("mask", "f32", ("batch", 1, 1, "length")))
    return Graph(OPERATORS, "onnx", inputs, (Port("logits", "f32", ("batch", 4), "classifier"),), tuple(nodes))


@cache
def graphs() -> tuple[Graph, Graph]:
    return graph(BLOCKS), graph(BLOCKS + 1, act="Tanh")


def graph_difference() -> GraphDifference:
    before, after = graphs()
    changes = []
    for node in after.nodes:
        steps = node.name.split(".")
        if steps[0] != "h":
            if node.name == "classifier":
                changes.append(
                    NodeChange(
                        node.name, node.name, node.op, (CHANGED,), (AttributeChange("shape", "batch × 2", "batch × 4"),)
                    )
                )
            continue
        number = int(steps[1])
        if number == INSERTED:
            changes.append(NodeChange(None, node.name, node.op, (ADDED,)))
            continue
        old = node.name if number < INSERTED else ".".join(["h", str(number - 1), *steps[2:]])
        whats = [RENAMED] if old != node.name else []
        attributes = (AttributeChange("op", "Gelu", "Tanh"),) if node.op == "Tanh" else ()
        if attributes:
            whats.insert(0, CHANGED)
        rewired = number == INSERTED + 1 and steps[2:] == ["ln_1"]
        if rewired:
            whats.append(REWIRED)
        if number == 2 and steps[2:] == ["attn", "k_proj"]:
            whats.append(MOVED)
        if whats:
            inputs = ((f"h.{INSERTED - 1}.residual_2",), node.inputs) if rewired else ((), ())
            changes.append(NodeChange(old, node.name, node.op, tuple(whats), attributes, *inputs))
    return GraphDifference(len(before.nodes), len(after.nodes), len(before.nodes), (), tuple(changes))


def versions(count: int = 24) -> tuple[TensorVersion, ...]:
    """The history of one tensor: a jump at the ninth version, small steps after."""
    chance = random.Random(3)
    subjects = (
        "train three epochs on reviews",
        "lower the learning rate",
        "merge the sentiment head",
        "clip gradients at 1.0",
    )
    made, norm = [], 15.36
    for number in range(count):
        step = (0.004 if number == 8 else 0.0008 * exp(-number / 9)) * (0.7 + 0.6 * chance.random())
        norm += 90 * step * (1 if number % 3 else -0.4)
        date = f"2026-{1 + number // 3:02d}-{3 + 9 * (number % 3):02d}"
        author = "training" if number % 4 else "release"
        made.append(TensorVersion(f"v0.{number}", date, author, subjects[number % 4], step if number else None, norm))
    return tuple(made)
