"""The computation graph of a function in JAX, as `jax.make_jaxpr` sees it."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from lamella.core.graph_builder import GraphBuilder, attribute_text
from lamella.core.graphs import OPERATORS, Graph, Node
from lamella.core.ids import digest
from lamella.core.numpy_dtypes import array_dtypes
from lamella.integrations.framework import framework
from lamella.integrations.jax import named_leaves

_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
}
_CALLS |= dict.fromkeys(("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"), "call_jaxpr")
"""Operations that only call a function, which is put in their place, and the parameter that holds it."""

_ARGUMENT = "Argument"
_DIGITS = 16


class _Held(NamedTuple):
    """A constant: the name of a parameter, or the text of something else."""

    tensor: str = ""
    text: str = ""


def capture(function: Callable[..., Any], params: Any, *example: Any) -> Graph:
    """Return the computation graph of ``function(params, *example)``.

    Parameters are the arrays of the tree `params` by their paths, joined with dots, as `lamella.jax.save` calls them.
    Nodes are the primitives, those of functions within the function too; `module` is the scope that
    `jax.named_scope`, and Flax, put them in. What the branches of a condition and the body of a loop do stands before
    it, with a node `Argument` for each value that goes in.
    """
    closed, shapes = framework("jax").make_jaxpr(function, return_shape=True)(params, *example)
    return _Walk().graph(closed, shapes, function, params, example)


class _Walk:
    """One way through a jaxpr."""

    def __init__(self) -> None:
        self._builder = GraphBuilder(OPERATORS, "jax")
        self._dtypes = {dtype: name for name, dtype in array_dtypes().items()}

    def graph(self, closed: Any, shapes: Any, function: Any, params: Any, example: Sequence[Any]) -> Graph:
        given = [name for name, _ in named_leaves(params)]
        values: dict[Any, str | _Held] = {}
        variables = closed.jaxpr.invars
        for variable, name in zip(variables, given, strict=False):
            values[variable] = _Held(tensor=name)
        names = [
            f"{name}.{path}" if path else name
            for name, value in _named_arguments(function, example)
            for path, _ in named_leaves(value)
        ]
        for variable, name in zip(variables[len(given) :], names, strict=True):
            values[variable] = self._builder.add_input(name, *self._type(variable.aval))
        ends = self._inline(closed, values, "", "")
        for (name, _), variable, end in zip(named_leaves(shapes), closed.jaxpr.outvars, ends, strict=True):
            value = end if isinstance(end, str) and end else None
            self._builder.add_output(name or "output", value, *self._type(variable.aval))
        return self._builder.build()

    def _inline(self, closed: Any, values: dict[Any, str | _Held], prefix: str, scope: str) -> list[str | _Held]:
        """Take the operations of a jaxpr, whose inputs are in `values`, and return its outputs."""
        jaxpr = getattr(closed, "jaxpr", closed)
        for variable, constant in zip(jaxpr.constvars, getattr(closed, "consts", ()), strict=False):
            values[variable] = _Held(text=self._constant(constant))
        for equation in jaxpr.eqns:
            module = _joined(scope, str(equation.source_info.name_stack))
            given = [self._value(one, values) for one in equation.invars]
            key = _CALLS.get(equation.primitive.name)
            inner = equation.params.get(key) if key else None
            if inner is not None and len(getattr(inner, "jaxpr", inner).invars) == len(given):
                below = dict(zip(getattr(inner, "jaxpr", inner).invars, given, strict=True))
                made = self._inline(inner, below, prefix, module)
            else:
                made = self._operation(equation, given, prefix, module)
            values |= zip(equation.outvars, made, strict=True)
        return [self._value(one, values) for one in jaxpr.outvars]

    def _operation(self, equation: Any, given: list[str | _Held], prefix: str, module: str) -> list[str | _Held]:
        op = equation.primitive.name
        name = self._builder.name(prefix + (f"{module}.{op}" if module else op))
        inputs = [one if isinstance(one, str) else "" for one in given]
        held = [(f"argument {number}", one) for number, one in enumerate(given) if isinstance(one, _Held)]
        parameters = [(role, one.tensor) for role, one in held if one.tensor]
        attributes = [(role, one.text) for role, one in held if one.text]
        for key, value in sorted(equation.params.items()):
            graphs = [(key, value)] if _is_jaxpr(value) else []
            if isinstance(value, (tuple, list)) and value and all(map(_is_jaxpr, value)):
                graphs = [(f"{key}.{number}", one) for number, one in enumerate(value)]
            for label, inner in graphs:
                ends = self._within(inner, _taken(equation, key, given), f"{name}.{label}.", module)
                inputs += [one if isinstance(one, str) else "" for one in ends]
                attributes.append((label, f"graph of {len(ends)} outputs"))
            if not graphs and value is not None:
                attributes.append((key, attribute_text(self._plain(value))))
        shape = self._type(equation.outvars[0].aval)[1] if equation.outvars else None
        ends_of_node = tuple(attributes), tuple(inputs), tuple(parameters)
        self._builder.add(Node(name, op, module, *ends_of_node, shape))
        return [f"{name}:{number}" if number else name for number in range(len(equation.outvars))]

    def _within(self, inner: Any, given: Sequence[str | _Held], prefix: str, module: str) -> list[str | _Held]:
        """Take a graph within an operation: parameters go in as they are, other values by a node."""
        values: dict[Any, str | _Held] = {}
        for number, variable in enumerate(getattr(inner, "jaxpr", inner).invars):
            one = given[number] if number < len(given) else ""
            if isinstance(one, str):
                name = self._builder.name(f"{prefix}{number}")
                shape = self._type(variable.aval)[1]
                self._builder.add(Node(name, _ARGUMENT, module, (), (one,) if one else (), (), shape))
                one = name
            values[variable] = one
        return self._inline(inner, values, prefix, module)

    def _value(self, variable: Any, values: dict[Any, str | _Held]) -> str | _Held:
        if hasattr(variable, "val"):
            return _Held(text=self._constant(variable.val))
        return values.get(variable, "")

    def _constant(self, value: Any) -> str:
        """Return a scalar as a number, and dtype, shape and the start of the BLAKE3 digest of an array."""
        import numpy

        array = numpy.asarray(value)
        if array.dtype not in self._dtypes:
            return type(value).__name__
        if not array.shape:
            return attribute_text(array.item() if array.dtype.kind in "biu" else str(array[()]))
        shape = ",".join(map(str, array.shape))
        return f"{self._dtypes[array.dtype]}[{shape}] blake3:{digest(array.tobytes()).hex()[:_DIGITS]}"

    def _type(self, aval: Any) -> tuple[str | None, tuple[int | str, ...] | None]:
        if not hasattr(aval, "dtype"):
            return None, None
        shape = tuple(extent if isinstance(extent, int) else str(extent) for extent in aval.shape)
        return str(self._dtypes.get(aval.dtype, aval.dtype)), shape

    def _plain(self, value: Any) -> Any:
        """Return a parameter of a primitive as what JSON writes: what it does not know is a text, or only its type."""
        if value is None or (isinstance(value, (bool, int, float, str)) and not isinstance(value, enum.Enum)):
            return value
        if isinstance(value, enum.Enum):
            return value.name
        if hasattr(value, "_asdict"):
            return {key: self._plain(one) for key, one in value._asdict().items()}
        if isinstance(value, (tuple, list)):
            return [self._plain(one) for one in value]
        try:
            if value in self._dtypes:
                return self._dtypes[value]
        except TypeError:
            return type(value).__name__
        text = str(value)
        return type(value).__name__ if callable(value) or " at 0x" in text else text


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns")


def _taken(equation: Any, key: str, given: list[str | _Held]) -> list[str | _Held]:
    """Return what goes into a graph within an operation, in the order in which the graph takes it."""
    op, params = equation.primitive.name, equation.params
    if op == "cond":
        return given[1:]
    if op == "while":
        first, second = params["cond_nconsts"], params["body_nconsts"]
        start = 0 if key == "cond_jaxpr" else first
        return given[start : start + (first if key == "cond_jaxpr" else second)] + given[first + second :]
    return given


def _joined(scope: str, below: str) -> str:
    return ".".join(part for part in (scope, *below.split("/")) if part)


def _named_arguments(function: Any, example: Sequence[Any]) -> list[tuple[str, Any]]:
    """Return the arguments behind the first by the names that the function gives them, or else by their numbers."""
    names: Iterable[str] = ()
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        pass
    else:
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        names = [name for name, one in signature.parameters.items() if one.kind in kinds][1:]
    known = [*names][: len(example)]
    known += [str(number) for number in range(len(known) + 1, len(example) + 1)]
    return list(zip(known, example, strict=True))
