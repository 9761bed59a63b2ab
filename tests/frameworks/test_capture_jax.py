"""Graphs of functions in JAX: primitives, what is called within them, loops and conditions, and a Flax module."""

from __future__ import annotations

import flax.linen
import jax
import jax.numpy as jnp
import numpy

import lamella.jax
from lamella.core.graphs import OPERATORS, Node, Port
from lamella.testing.formats import check_graph

PARAMS = {"dense": {"w": jnp.ones((3, 4)), "b": jnp.zeros(4)}, "stack": jnp.ones((5, 4, 4))}
TABLE = jnp.arange(4.0)


def dense(params, x):
    with jax.named_scope("dense"):
        return x @ params["dense"]["w"] + params["dense"]["b"]


def captured(function, *arguments):
    found = lamella.jax.capture(function, *arguments)
    check_graph(found)
    assert found == lamella.jax.capture(function, *arguments)
    return found, {node.name: node for node in found.nodes}


def test_a_layer():
    found, nodes = captured(dense, PARAMS, jnp.ones((2, 3)))
    assert (found.level, found.source) == (OPERATORS, "jax")
    assert found.inputs == (Port("x", "f32", (2, 3)),)
    assert found.outputs == (Port("output", "f32", (2, 4), "dense.add"),)
    attributes = (("dimension_numbers", "[[[1], [0]], [[], []]]"), ("preferred_element_type", "f32"))
    parameters = (("argument 1", "dense.w"),)
    assert found.nodes[0] == Node(
        "dense.dot_general", "dot_general", "dense", attributes, ("@x", ""), parameters, (2, 4)
    )
    assert nodes["dense.broadcast_in_dim"].parameters == (("argument 0", "dense.b"),)


def test_parameters_are_called_as_they_are_saved(tmp_path):
    def whole(params, x):
        return dense(params, x) + params["stack"].sum()

    found, _ = captured(whole, PARAMS, jnp.ones((2, 3)))
    assert {name for node in found.nodes for _, name in node.parameters} == set(lamella.jax.from_jax(PARAMS))


def test_functions_within_are_put_in_their_place():
    def activated(params, x):
        return jax.jit(jax.nn.gelu)(jax.nn.relu(jax.checkpoint(dense)(params, x)))

    _, nodes = captured(activated, PARAMS, jnp.ones((2, 3)))
    ops = {node.op for node in nodes.values()}
    assert {"dot_general", "tanh", "max"} <= ops
    assert not ops & {"jit", "pjit", "custom_jvp_call", "checkpoint"}


def test_constants():
    _, nodes = captured(lambda _, x: 2.5 * x + TABLE, {}, jnp.ones((2, 4)))
    assert dict(nodes["mul"].attributes) == {"argument 0": "2.5"}
    assert any(text.startswith("f32[4] blake3:") for node in nodes.values() for _, text in node.attributes)


def test_loops_and_conditions():
    def looping(params, x, flag):
        x, sums = jax.lax.scan(lambda one, w: (jnp.tanh(one @ w), one.sum()), x, params["stack"])
        x = jax.lax.cond(flag, lambda one: one * 2, lambda one: one - 1, x)
        x = jax.lax.while_loop(lambda one: one.sum() < 3, lambda one: one + params["dense"]["b"], x)
        return {"x": x, "sums": sums}

    found, nodes = captured(looping, PARAMS, jnp.ones((2, 4)), True)
    assert [port.name for port in found.inputs] == ["x", "flag"]
    assert {port.name: port.value for port in found.outputs} == {"sums": "scan:1", "x": "while"}
    assert nodes["scan.jaxpr.0"] == Node("scan.jaxpr.0", "Argument", inputs=("@x",), shape=(2, 4))
    assert nodes["scan.jaxpr.dot_general"].parameters == (("argument 1", "stack"),)
    assert nodes["scan"].inputs == ("@x", "", "scan.jaxpr.tanh", "scan.jaxpr.reduce_sum")
    assert nodes["cond.branches.1.mul"].inputs[0] == "cond.branches.1.0"
    assert nodes["while.body_jaxpr.broadcast_in_dim"].parameters == (("argument 0", "dense.b"),)
    assert dict(nodes["cond"].attributes)["branches.0"] == "graph of 1 outputs"


def test_arguments_that_are_trees():
    found, _ = captured(lambda params, batch: batch["a"] + batch["b"][0], {}, {"b": [jnp.ones(2)], "a": numpy.ones(2)})
    assert [port.name for port in found.inputs] == ["batch.a", "batch.b.0"]


def test_a_flax_module():
    class Network(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            x = flax.linen.Conv(4, (3,), name="conv")(x)
            x = flax.linen.gelu(flax.linen.LayerNorm(name="norm")(x))
            return flax.linen.Dense(2, name="last")(x)

    module = Network()
    x = jnp.ones((1, 5, 3))
    params = module.init(jax.random.key(0), x)["params"]
    found, nodes = captured(lambda params, x: module.apply({"params": params}, x), params, x)
    assert {name for node in found.nodes for _, name in node.parameters} == set(lamella.jax.from_jax(params))
    assert nodes["Network.last.dot_general"].parameters == (("argument 1", "last.kernel"),)


def test_random_keys():
    def drawing(_, key):
        return jax.random.normal(key, (2,))

    found, _ = captured(drawing, {}, jax.random.key(0))
    assert found.inputs[0].name == "key"
