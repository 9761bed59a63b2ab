"""The layers of a PyTorch module and what feeds what, as `torch.fx` traces it, or as one run calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lamella.core.errors import UsageError
from lamella.core.graph_builder import GraphBuilder
from lamella.core.graphs import LAYERS, Graph, Node
from lamella.integrations.framework import framework
from lamella.integrations.torch_values import (
    Arguments,
    Held,
    ModuleState,
    class_name,
    dtype_text,
    named_leaves,
    settings,
    shape_of,
)


def traced(
    program: Any, arguments: Sequence[Any], by_name: Mapping[str, Any], state: ModuleState, failed: str
) -> Graph:
    """Return the graph of what `torch.fx.symbolic_trace` returned; `failed` is how `torch.export` failed."""
    builder = _builder("torch.fx", failed)
    values: dict[Any, str | Held] = {}
    modules = dict(program.named_modules(remove_duplicate=False))
    rest = iter(arguments)
    for node in program.graph.nodes:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = stack[-1][0] if stack else ""
        if node.op == "placeholder":
            value = by_name[node.name] if node.name in by_name else next(rest, None)
            values[node] = builder.add_input(node.name, *_type(value))
        elif node.op == "get_attr":
            values[node] = state.held(node.target, path)
        elif node.op == "output":
            for name, leaf in named_leaves(node.args[0]):
                made = values.get(leaf) if isinstance(leaf, type(node)) else None
                builder.add_output(name, made if isinstance(made, str) else None)
        else:
            found = Arguments(values, state, path)
            found.take([(f"argument {number}", value) for number, value in enumerate(node.args)])
            found.take([(f"argument {name}", value) for name, value in sorted(node.kwargs.items())])
            if node.op == "call_module":
                parameters = state.below(node.target)
                made = _layer(
                    builder, node.target, modules[node.target], tuple(found.inputs), parameters, found.attributes
                )
            else:
                op = node.target if isinstance(node.target, str) else node.target.__name__
                made = builder.name(f"{path}.{op}" if path else op)
                ends = tuple(found.attributes), tuple(found.inputs), tuple(found.parameters)
                builder.add(Node(made, op, path, *ends))
            values[node] = made
    return builder.build()


def observed(module: Any, arguments: Sequence[Any], by_name: Mapping[str, Any], failed: str) -> Graph:
    """Return the leaf modules that one run calls, in their order; what a value goes through between is not known.

    So are modules with parameters of their own, which also take those of the modules in them that are not called.

    Raises UsageError (bad-argument) where the module cannot be called so.
    """
    torch = framework("torch")
    builder = _builder("torch.nn", failed)
    state = ModuleState(module)
    values: dict[int, str] = {}
    called: set[str] = set()
    alive: list[Any] = []

    def reached(tree: Any) -> Iterator[Any]:
        return (leaf for _, leaf in named_leaves(tree) if isinstance(leaf, torch.Tensor))

    def watch(path: str) -> Any:
        def record(one: Any, given: Any, keywords: Any, made: Any) -> None:
            inputs = tuple(values.get(id(leaf), "") for leaf in reached([given, keywords]))
            outputs = list(reached(made))
            inner = tuple(f"{other}." for other in called if other.startswith(f"{path}."))
            parameters = tuple(pair for pair in state.below(path) if not pair[1].startswith(inner))
            called.add(path)
            name = _layer(builder, path, one, inputs, parameters, (), shape_of(outputs))
            for number, leaf in enumerate(outputs):
                values[id(leaf)] = f"{name}:{number}" if number else name
            alive.append((given, keywords, made))

        return record

    for name, leaf in named_leaves([list(arguments), dict(by_name)]):
        if isinstance(leaf, torch.Tensor):
            values[id(leaf)] = builder.add_input(name.partition(".")[2], *_type(leaf))
    hooks = [
        one.register_forward_hook(watch(path), with_kwargs=True)
        for path, one in module.named_modules()
        if one._parameters or next(one.children(), None) is None
    ]
    try:
        made = module(*arguments, **by_name)
    except (TypeError, RuntimeError, ValueError, IndexError, KeyError) as exc:
        hint = "`example` is the tuple of arguments that the module is called with"
        message = f"the module cannot be called with the example: {type(exc).__name__}: {str(exc)[:200]}"
        raise UsageError(message, kind="bad-argument", hint=hint) from exc
    finally:
        for hook in hooks:
            hook.remove()
    for name, leaf in named_leaves(made):
        builder.add_output(name, values.get(id(leaf)), *_type(leaf))
    return builder.build()


def _builder(source: str, failed: str) -> GraphBuilder:
    builder = GraphBuilder(LAYERS, source)
    if failed:
        builder.note("export failed", failed)
    return builder


def _layer(
    builder: GraphBuilder,
    path: str,
    module: Any,
    inputs: tuple[str, ...],
    parameters: tuple[tuple[str, str], ...],
    more: Sequence[tuple[str, str]] = (),
    shape: Any = None,
) -> str:
    """Take a call of a module and return the name of its node."""
    name = builder.name(path or class_name(module))
    attributes = (*settings(module), *more)
    parent = path.rpartition(".")[0]
    builder.add(Node(name, class_name(module), parent, attributes, inputs, parameters, shape))
    return name


def _type(value: Any) -> tuple[str | None, Any]:
    return (dtype_text(value.dtype), shape_of(value)) if hasattr(value, "dtype") else (None, None)
