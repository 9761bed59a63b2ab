"""The closed list of names that a PyTorch pickle may call: what each stands for here, with nothing imported or run.

The list is drawn from `torch/_utils.py`, `torch/_tensor.py` and `torch/_weights_only_unpickler.py` of PyTorch 2.13, and
from what the protocols of `pickle` and NumPy write for plain data. Every other name is foreign: its calls make inert
objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lamella.core.limits import MAX_DIMENSIONS
from lamella.formats.torch.pickle_values import (
    ARGS,
    NOTHING,
    PAIRS,
    STATE,
    Global,
    Node,
    Storage,
    Tensor,
    Value,
    malformed,
)

Handler = Callable[[Value], Value]
"""Returns what a call with these arguments, a list or a tuple, makes."""

_STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexDouble": "complex128",
    "ComplexFloat": "complex64",
    "QUInt8": "quint8",
    "QInt8": "qint8",
    "QInt32": "qint32",
    "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4",
    "Untyped": "uint8",
}

STORAGE_DTYPES: dict[tuple[str, str], str] = {
    (module, f"{name}Storage"): dtype for module in ("torch", "torch.cuda") for name, dtype in _STORAGES.items()
} | {
    ("torch.storage", "UntypedStorage"): "uint8",
    ("torch.storage", "_UntypedStorage"): "uint8",
}
"""The dtype of the elements of each class of storage."""

_DTYPE_WORDS = """
float64 double float32 float float16 half bfloat16 int64 long int32 int int16 short int8 uint8 uint16 uint32 uint64 bool
complex128 cdouble complex64 cfloat complex32 chalf quint8 qint8 qint32 quint4x2 quint2x4 float8_e4m3fn float8_e4m3fnuz
float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 bits8 bits16 bits1x8 bits2x4 bits4x2
int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7
"""

DTYPE_NAMES = frozenset(_DTYPE_WORDS.split())
"""What is a dtype where it is a name in the module `torch`."""

_PLAIN = {
    "torch": "device Size Tensor strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc jagged "
    "per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric per_channel_affine_float_qparams "
    "contiguous_format preserve_format channels_last channels_last_3d Generator",
    "torch.nn.parameter": "Parameter Buffer UninitializedParameter UninitializedBuffer",
    "torch.nn": "Parameter",
    "torch._utils": "_rebuild_sparse_tensor _rebuild_sparse_csr_tensor _rebuild_nested_tensor "
    "_rebuild_wrapper_subclass _rebuild_meta_tensor_no_storage _rebuild_device_tensor_from_numpy _rebuild_xla_tensor",
    "torch.serialization": "_get_layout",
    "torch._tensor": "_rebuild_from_type",
    "torch.storage": "TypedStorage _TypedStorage",
    "torch.jit._pickle": "build_intlist build_floatlist build_boollist build_tensorlist restore_type_tag",
    "collections": "Counter deque",
    "builtins": "object int float bool str complex bytes bytearray slice range",
    "__builtin__": "xrange unicode long",
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "numpy": "ndarray dtype",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
}
"""Names of plain data: a call makes a mapping of what it was given."""

_OLD_MODULES = {"builtins": "__builtin__", "copyreg": "copy_reg"}
"""What protocols before 3 call these modules, as Python 2 did."""


_FEW = 16
"""Keys and values that a tensor's metadata may have: PyTorch writes two pairs at most."""

_HOOKS = 5
"""The argument that holds the hooks of a tensor."""


def _mapping(args: Value) -> Value:
    """Return the mapping that `OrderedDict(args)` is: of a list of pairs, or of another mapping."""
    if not args:
        return Node()
    return Node((PAIRS, args[0]) if type(args[0]) is list else (ARGS, args))


def _first(args: Value) -> Value:
    """Return the list, tuple or text that a call makes of its first argument."""
    return args[0] if args else []


def _object(args: Value) -> Value:
    return Node((ARGS, args) if args else ())


def _is_size(value: Value) -> bool:
    return type(value) is int and value >= 0


def _view(args: Value, dtype: str | None, beside: Node) -> Tensor:
    """Return the tensor of a storage, an offset, a shape and strides, which all its makers are given first."""
    storage, offset, shape, strides = args[:4]
    if type(shape) is list:
        shape = tuple(shape)
    if type(strides) is list:
        strides = tuple(strides)
    if not (
        type(storage) is Storage
        and _is_size(offset)
        and type(shape) is tuple
        and type(strides) is tuple
        and len(shape) == len(strides) <= MAX_DIMENSIONS
        and all(map(_is_size, shape))
        and all(map(_is_size, strides))
    ):
        raise malformed("a tensor is not made of a storage, an offset, a shape and strides")
    return Tensor(storage, dtype or storage.dtype, offset, shape, strides, beside)


def has_no_hooks(args: Value) -> bool:
    """Say whether a maker of tensors is given an empty mapping of hooks."""
    return len(args) > _HOOKS and type(args[_HOOKS]) is Node and not args[_HOOKS]


def _with_hooks(args: Value) -> Node:
    hooks = args[_HOOKS] if len(args) > _HOOKS else None
    return Node((STATE, hooks)) if type(hooks) is Node and hooks else NOTHING


def _is_altered(metadata: Value) -> bool:
    """Say whether a tensor is conjugated or negated when it is read: its elements are not those that are stored."""
    pairs = metadata[0] if metadata and type(metadata[0]) is Node else Node()
    told = any(pairs[at] in ("conj", "neg") and pairs[at + 1] is not False for at in range(0, len(pairs[:_FEW]), 2))
    return told or len(pairs) > _FEW


def _tensor_v2(args: Value) -> Value:
    """Read `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks, metadata)`."""
    _check_count(args, 4)
    return Node() if _is_altered(args[6:7]) else _view(args, None, _with_hooks(args))


def _tensor_v3(args: Value) -> Value:
    """Read `_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, backward_hooks, dtype, metadata)`."""
    _check_count(args, 7)
    dtype = args[6]
    if type(dtype) is not Global or dtype.module != "torch" or dtype.name not in DTYPE_NAMES:
        raise malformed("a tensor has no dtype")
    return Node() if _is_altered(args[7:8]) else _view(args, dtype.name, _with_hooks(args))


def _quantised(args: Value) -> Value:
    """Read `_rebuild_qtensor(storage, offset, size, stride, quantizer_params, requires_grad, backward_hooks)`."""
    _check_count(args, 5)
    params = args[4]
    beside = NOTHING
    if type(params) is tuple and len(params) >= 3 and type(params[1]) is Tensor:
        beside = Node(("scales", params[1], "zero_points", params[2]))
    return _view(args, None, beside)


def _parameter(args: Value) -> Value:
    """Read `_rebuild_parameter(data, requires_grad, backward_hooks)`: the tensor itself."""
    _check_count(args, 1)
    return args[0]


def _parameter_with_state(args: Value) -> Value:
    """Read `_rebuild_parameter_with_state(data, requires_grad, backward_hooks, state)`."""
    _check_count(args, 4)
    return beside(args[0], args[3])


def _from_type(args: Value) -> Value:
    """Read `_rebuild_from_type_v2(function, type, arguments, state)`."""
    _check_count(args, 4)
    if type(args[0]) is Global and ALLOWED.get((args[0].module, args[0].name)) is _from_type:
        raise malformed("a tensor is made of itself")
    return beside(call(args[0], args[2]), args[3])


def beside(value: Value, state: Value) -> Value:
    """Return `value` with what was given to its `__setstate__`."""
    if type(value) is Tensor and state:
        if value.beside is NOTHING:
            value = replace(value, beside=Node())
        value.beside.extend((STATE, state))
    elif type(value) is Node:
        value.extend((STATE, state))
    return value


def _check_count(args: Value, count: int) -> None:
    if len(args) < count:
        raise malformed("a tensor lacks arguments")


def _allowed() -> dict[tuple[str, str], Handler]:
    found: dict[tuple[str, str], Handler] = {
        (module, name): _object for module, names in _PLAIN.items() for name in names.split()
    }
    found |= {("torch", name): _object for name in DTYPE_NAMES}
    found |= dict.fromkeys(STORAGE_DTYPES, _object)
    found |= {
        ("torch._utils", "_rebuild_tensor"): _tensor_v2,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
        ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
        ("torch._utils", "_rebuild_qtensor"): _quantised,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): _parameter_with_state,
        ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _parameter,
        ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
        ("torch", "Size"): _first,
        ("collections", "OrderedDict"): _mapping,
        ("collections", "defaultdict"): lambda args: _mapping(args[1:]),
        ("_codecs", "encode"): _first,
    }
    found |= {("builtins", name): _first for name in ("set", "frozenset", "list", "tuple")}
    found[("builtins", "dict")] = _mapping
    for (module, name), handler in list(found.items()):
        if module in _OLD_MODULES:
            found[_OLD_MODULES[module], name] = handler
    return found


ALLOWED = _allowed()
"""What each name on the list does with its arguments."""


def is_foreign(name: Global) -> bool:
    """Say whether a name is on no list, and its call only an object that stands for it."""
    return (name.module, name.name) not in ALLOWED


def call(function: Value, args: Value) -> Value:
    """Return what `function(*args)` makes, an inert object where it is foreign; nothing is called."""
    if type(args) not in (tuple, list):
        raise malformed("something is called with no list of arguments")
    if type(function) is not Global:
        return Node((ARGS, (function, args)))
    return ALLOWED.get((function.module, function.name), _object)(args)
