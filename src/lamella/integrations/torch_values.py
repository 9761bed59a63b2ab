"""What PyTorch's values are in a computation graph: names in the state dict, dtypes, shapes and attributes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from lamella.core.graph_builder import attribute_text
from lamella.core.graphs import Extent
from lamella.core.ids import digest
from lamella.core.numpy_dtypes import array_dtypes
from lamella.integrations.framework import framework

_DIGITS = 16


class Held(NamedTuple):
    """A constant: the name of its tensor in the state dict, or a text where it is not there."""

    tensor: str = ""
    text: str = ""


class ModuleState:
    """The parameters and buffers of a module by all their names."""

    def __init__(self, module: Any) -> None:
        torch = framework("torch")
        state = module.state_dict(keep_vars=True)
        self._kept = {name: one for name, one in state.items() if isinstance(one, torch.Tensor)}
        self._all = dict(module.named_parameters(remove_duplicate=False))
        self._all |= dict(module.named_buffers(remove_duplicate=False))
        self._aliases: dict[int, list[str]] = {}
        for name, tensor in self._kept.items():
            self._aliases.setdefault(id(tensor), []).append(name)

    def held(self, name: str, path: str) -> Held:
        """Return the parameter or buffer `name` for what is called in the module at `path`, which has its own name."""
        tensor = self._all.get(name)
        names = self._aliases.get(id(tensor), [])
        if not names:
            return Held(text=constant_text(tensor))
        return Held(next((one for one in names if one.rpartition(".")[0] == path), name if name in names else names[0]))

    def below(self, path: str) -> tuple[tuple[str, str], ...]:
        """Return what the module at `path` and those in it have, by the names that it has there."""
        start = f"{path}." if path else ""
        return tuple((name.removeprefix(start), name) for name in self._kept if name.startswith(start))


def constant_text(value: Any) -> str:
    """Return dtype, shape and the start of the BLAKE3 digest of a tensor; the type of anything else."""
    torch = framework("torch")
    if not isinstance(value, torch.Tensor) or value.is_meta or value.layout != torch.strided:
        return type(value).__name__
    plain = value.detach().cpu().contiguous()
    data = memoryview(plain.reshape(-1).view(torch.uint8).numpy())
    shape = ",".join(map(str, value.shape))
    return f"{dtype_text(value.dtype)}[{shape}] blake3:{digest(data).hex()[:_DIGITS]}"


def dtype_text(dtype: Any) -> str:
    """Return the name of a dtype of PyTorch."""
    torch = framework("torch")
    known = {getattr(torch, numpy.name, None): ours for ours, numpy in array_dtypes().items()}
    return str(known.get(dtype, str(dtype)))


def shape_of(value: Any) -> tuple[Extent, ...] | None:
    """Return the shape of a tensor, or of the first of several; an extent that is open is a text."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    if not hasattr(value, "shape"):
        return None
    return tuple(extent if isinstance(extent, int) else str(extent) for extent in value.shape)


def plain(value: Any) -> Any:
    """Return a value as what JSON writes: what it does not know is a text, or only its type."""
    torch = framework("torch")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, torch.dtype):
        return dtype_text(value)
    if isinstance(value, (torch.device, torch.layout, torch.memory_format, complex, slice, type(...))):
        return str(value)
    return type(value).__name__


def named_leaves(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested value with their paths, joined with dots; a lone one is called "output"."""
    paths, _ = framework("torch").utils._pytree.tree_flatten_with_path(tree)
    for path, leaf in paths:
        steps = (next(str(getattr(key, name)) for name in ("key", "idx", "name") if hasattr(key, name)) for key in path)
        yield ".".join(steps) or "output", leaf


def settings(module: Any) -> tuple[tuple[str, str], ...]:
    """Return what a module was made with, as far as its attributes are plain values."""
    kinds = (bool, int, float, str, tuple, list, type(None))
    found = {key: value for key, value in vars(module).items() if not key.startswith("_") and key != "training"}
    return tuple((key, attribute_text(plain(value))) for key, value in found.items() if isinstance(value, kinds))


def class_name(module: Any) -> str:
    """Return the class of a module, with where it is from unless that is `torch.nn`."""
    kind = type(module)
    return kind.__name__ if kind.__module__.startswith("torch.nn.") else f"{kind.__module__}.{kind.__qualname__}"


class Arguments:
    """The arguments of one node of `torch.fx`: references, parameters and attributes, as `core.graphs.Node` has them.

    `values` are references and constants by the nodes that make them, `state` and `path` those of `ModuleState.held`.
    """

    def __init__(self, values: dict[Any, str | Held], state: ModuleState, path: str) -> None:
        self._values = values
        self._state = state
        self._path = path
        self.inputs: list[str] = []
        self.parameters: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, str]] = []

    def take(self, roles: Iterable[tuple[str, Any]]) -> None:
        """Take arguments, each with the role that it has."""
        node = framework("torch").fx.Node
        for role, value in roles:
            if isinstance(value, node):
                self._take_value(role, value)
                continue
            leaves = [leaf for _, leaf in named_leaves(value)]
            for number, leaf in enumerate(leaves):
                if isinstance(leaf, node):
                    self._take_value(f"{role} {number}", leaf)
            if value is not None and not (leaves and all(isinstance(leaf, node) for leaf in leaves)):
                self.attributes.append((role, attribute_text(_open(plain(value)))))

    def _take_value(self, role: str, node: Any) -> None:
        value = self._values.get(node, "")
        self.inputs.append(value if isinstance(value, str) else "")
        if isinstance(value, Held):
            held = self._state.held(value.tensor, self._path) if value.tensor else value
            if held.tensor:
                self.parameters.append((role, held.tensor))
            else:
                self.attributes.append((role, held.text))


def _open(value: Any) -> Any:
    """Return a list with what is computed, which `plain` names by its type, as an asterisk."""
    if isinstance(value, list):
        return [_open(one) for one in value]
    return "*" if value == "Node" else value
