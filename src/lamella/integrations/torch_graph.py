"""The computation graph of a PyTorch module: as `torch.export` sees it, else as `torch.fx` does, else call by call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from operator import getitem
from typing import Any

from lamella.core.errors import UsageError
from lamella.core.graph_builder import GraphBuilder, attribute_text
from lamella.core.graphs import LAYERS, OPERATORS, Graph, Node
from lamella.integrations.framework import framework
from lamella.integrations.torch_layers import observed, traced
from lamella.integrations.torch_values import (
    Arguments,
    Held,
    ModuleState,
    constant_text,
    dtype_text,
    named_leaves,
    plain,
    shape_of,
)


def capture(
    module: Any,
    example: Any,
    *,
    named: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    level: str = OPERATORS,
) -> Graph:
    """Return the computation graph of a module for the arguments `example`, and those by name in `named`.

    `example` is a tuple, or one tensor. Parameters are called as in the state dict, tied ones as the module calls them
    that takes them. At the level `operators` nodes are those of `torch.export.export`, which `dynamic_shapes` goes to;
    where that fails, and at the level `layers`, they are the leaf modules and functions that `torch.fx.symbolic_trace`
    sees; where that fails too, the leaf modules in the order in which a run calls them. The graph says in `source`
    which it was, and how the export failed in the attribute "export failed". The module is in evaluation mode
    meanwhile. Raises UsageError (bad-argument) where it cannot be called with `example` at all, or for an unknown
    level.
    """
    if level not in (OPERATORS, LAYERS):
        hint = f"levels are {OPERATORS!r} and {LAYERS!r}"
        raise UsageError(f"{level!r} is no level of a captured graph", kind="bad-argument", hint=hint)
    torch = framework("torch")
    failed = ""
    arguments = (example,) if isinstance(example, torch.Tensor) else tuple(example)
    by_name = dict(named or {})
    with _evaluating(module), torch.no_grad():
        if level == OPERATORS:
            try:
                program = torch.export.export(module, arguments, by_name, dynamic_shapes=dynamic_shapes)
            except Exception as exc:  # it fails with errors of many kinds, and the graph says which
                failed = type(exc).__name__
            else:
                return exported(program, ModuleState(module))
        try:
            found = torch.fx.symbolic_trace(module)
        except Exception:  # it fails with whatever the code of the module raises where it is given no tensors
            return observed(module, arguments, by_name, failed)
        return traced(found, arguments, by_name, ModuleState(module), failed)


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for one, training in modes:
            one.training = training


def exported(program: Any, state: ModuleState) -> Graph:
    """Return the graph of an `ExportedProgram`."""
    return _Exported(program, state).graph()


class _Exported:
    """One way through an exported program."""

    def __init__(self, program: Any, state: ModuleState) -> None:
        self._program = program
        self._state = state
        self._builder = GraphBuilder(OPERATORS, "torch.export")
        self._values: dict[Any, str | Held] = {}

    def graph(self) -> Graph:
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                self._values[node] = self._given(node)
            elif node.op == "get_attr":
                self._values[node] = Held(text=_attribute(self._program.graph_module, node.target))
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                self._end(node)
        return self._builder.build()

    def _given(self, node: Any) -> str | Held:
        """Return what a placeholder stands for: a parameter, a constant, an input."""
        signature = self._program.graph_signature
        for targets in (signature.inputs_to_parameters, signature.inputs_to_buffers):
            if node.name in targets:
                return Held(targets[node.name])
        if node.name in signature.inputs_to_lifted_tensor_constants:
            constant = self._program.constants[signature.inputs_to_lifted_tensor_constants[node.name]]
            return Held(text=constant_text(constant))
        value = node.meta.get("val")
        if not hasattr(value, "dtype"):
            text = attribute_text(plain(value))
            self._builder.note(f"input {node.name}", text)
            return Held(text=text)
        return self._builder.add_input(node.name, dtype_text(value.dtype), shape_of(value))

    def _call(self, node: Any) -> None:
        if node.target is getitem and isinstance(base := self._values.get(node.args[0]), str) and base:
            number = node.args[1]
            self._values[node] = f"{base}:{number}" if number else base
            return
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = stack[-1][0] if stack else ""
        schema = getattr(node.target, "_schema", None)
        roles = [argument.name for argument in schema.arguments] if schema else []
        roles += [f"argument {number}" for number in range(len(roles), len(node.args))]
        found = Arguments(self._values, self._state, path)
        found.take([*zip(roles, node.args, strict=False), *sorted(node.kwargs.items())])
        op = str(node.target).removesuffix(".default") if schema else node.target.__name__
        label = op.split(".")[1] if schema and "." in op else op
        name = self._builder.name(f"{path}.{label}" if path else label)
        self._values[node] = name
        shape = shape_of(node.meta.get("val"))
        ends = tuple(found.attributes), tuple(found.inputs), tuple(found.parameters)
        self._builder.add(Node(name, op, path, *ends, shape))

    def _end(self, node: Any) -> None:
        torch = framework("torch")
        specs = self._program.graph_signature.output_specs
        given = [one for spec, one in zip(specs, node.args[0], strict=True) if spec.kind.name == "USER_OUTPUT"]
        tree = torch.utils._pytree.tree_unflatten([_Leaf(one) for one in given], self._program.call_spec.out_spec)
        for name, leaf in named_leaves(tree):
            value = self._values.get(leaf.value) if isinstance(leaf.value, torch.fx.Node) else None
            made: Any = leaf.value.meta.get("val") if isinstance(leaf.value, torch.fx.Node) else None
            dtype = dtype_text(made.dtype) if hasattr(made, "dtype") else None
            self._builder.add_output(name, value if isinstance(value, str) else None, dtype, shape_of(made))


class _Leaf:
    """An output that is no tree of values, whatever it is."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _attribute(module: Any, target: str) -> str:
    """Return what an attribute of an exported module is: the code of a graph within a node, or a constant."""
    for step in target.split("."):
        module = getattr(module, step)
    return attribute_text(module.code) if hasattr(module, "code") else constant_text(module)
