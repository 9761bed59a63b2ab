"""Walking a pickle opcode by opcode into inert values: nothing is imported, called or run.

Every opcode of protocols 0 to 5 is known, as `pickletools` of Python 3.13 documents them. A name is only a name, and
what would be a call of it is an object that remembers the arguments, save for the closed list in `torch_globals`.
A walk takes time linear in the pickle's length, and memory that is charged.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from lamella.core.errors import FormatError
from lamella.formats.torch.allowed import STORAGE_DTYPES, beside, call, has_no_hooks, is_foreign
from lamella.formats.torch.pickle_machine import (
    ARGUMENTS_NBYTES,
    NODE_NBYTES,
    SLOT_NBYTES,
    VALUE_NBYTES,
    Machine,
    truncated,
)
from lamella.formats.torch.pickle_values import ARGS, NOTHING, STATE, Global, Node, Storage, Tensor, Value, malformed

_HIGHEST_PROTOCOL = 5
_PAIR_NBYTES = 2 * SLOT_NBYTES
"""What a key and a value in a container are charged, beside what they are."""

_NAME_NBYTES = 4 * VALUE_NBYTES
"""What a name of code is charged, where it is met for the first time: each is kept once."""

_MAX_DIGITS = 80
_MAX_PART_NBYTES = 256
"""What of a foreign name is shown, before and behind its last dot."""


@dataclass(frozen=True, slots=True)
class Walked:
    """What a pickle holds: its value, the foreign names in it, and where it ends."""

    value: Value
    foreign: frozenset[str]
    end: int


def walk_pickle(data: bytes, folder: str = "") -> Walked:
    """Walk the pickle that `data` begins with; the keys of its storages are prefixed with `folder`.

    What memory it may take depends on all of `data`: who reads ahead cuts off what is behind the end before.

    Raises FormatError: file-truncated where `data` ends before the pickle does; too-many-tensors where its values would
    take more memory than a format may; header-malformed.
    """
    machine = Machine(data, folder)
    steps, limit_nbytes = _STEPS, machine.limit_nbytes
    try:
        while machine.running:
            machine.at = stop = machine.at + 1
            steps[data[stop - 1]](machine)
            if machine.spent_nbytes > limit_nbytes:
                raise _too_much()
    except IndexError as exc:
        if machine.at > len(data):
            raise truncated() from exc
        raise malformed(f"its stack is empty at byte {machine.at}") from exc
    except FormatError:
        raise
    except (ValueError, OverflowError) as exc:
        raise malformed(f"there is no text or number before byte {machine.at}") from exc
    return Walked(machine.value, frozenset(machine.foreign), machine.at)


def _too_much() -> FormatError:
    return FormatError(
        "pickle holds more than a reader may hold in memory",
        kind="too-many-tensors",
        hint="split the model into several files",
    )


def _stop(machine: Machine) -> None:
    machine.value = machine.stack.pop()
    machine.running = False


def _protocol(machine: Machine) -> None:
    if machine.number(1) > _HIGHEST_PROTOCOL:
        raise malformed("its protocol is not known to this version")


def _frame(machine: Machine) -> None:
    if machine.number(8) > len(machine.data) - machine.at:
        raise truncated()


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.marked()


def _pop_marked(machine: Machine) -> None:
    machine.marked()


# Numbers and text.


def _integer_line(machine: Machine) -> None:
    line = machine.line()
    if line in (b"00", b"01"):
        machine.push(line == b"01", 0)
    else:
        machine.push(_digits(line))


def _digits(line: bytes) -> int | None:
    return None if len(line) > _MAX_DIGITS else int(line)


def _float_line(machine: Machine) -> None:
    machine.push(float(machine.line()))


def _float(machine: Machine) -> None:
    machine.push(struct.unpack(">d", machine.take(8))[0])


def _text_line(machine: Machine) -> None:
    line = machine.line()
    machine.push(line.decode("raw-unicode-escape"), VALUE_NBYTES + 4 * len(line))


def _quoted_line(machine: Machine) -> None:
    line = machine.line()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
        raise malformed(f"there is no string before byte {machine.at}")
    _push_old(machine, line[1:-1])


def _old_text(machine: Machine, width: int) -> None:
    _push_old(machine, machine.cut(machine.number(width)) or b"")


def _push_old(machine: Machine, data: bytes) -> None:
    """Push a string of Python 2, which may be text and may be bytes."""
    try:
        machine.push(data.decode(), VALUE_NBYTES + 4 * len(data))
    except UnicodeDecodeError:
        machine.push(data, VALUE_NBYTES + len(data))


# Containers.


def _tuple(machine: Machine, items: list[Value]) -> None:
    machine.push(tuple(items), VALUE_NBYTES + SLOT_NBYTES * len(items))


def _last(machine: Machine, count: int) -> None:
    items = machine.stack[-count:]
    if len(items) < count:
        raise IndexError
    del machine.stack[-count:]
    _tuple(machine, items)


def _list(machine: Machine, items: list[Value]) -> None:
    machine.push(items, NODE_NBYTES + SLOT_NBYTES * len(items))


def _dict(machine: Machine, items: list[Value]) -> None:
    if len(items) % 2:
        raise malformed(f"a key has no value before byte {machine.at}")
    machine.push(Node(items), NODE_NBYTES + SLOT_NBYTES * len(items))


def _append(machine: Machine, items: list[Value]) -> None:
    """Put items into the list, or the object that takes them, on top of the stack."""
    target = machine.stack[-1]
    machine.spent_nbytes += SLOT_NBYTES * len(items)
    if type(target) is list:
        target.extend(items)
    elif type(target) is Node:
        machine.spent_nbytes += NODE_NBYTES + _PAIR_NBYTES
        target.extend((ARGS, items))
    else:
        raise malformed(f"items are put into what takes none before byte {machine.at}")


def _set_items(machine: Machine, items: list[Value]) -> None:
    target = machine.stack[-1]
    machine.spent_nbytes += SLOT_NBYTES * len(items)
    if type(target) is not Node or len(items) % 2:
        raise malformed(f"keys are put into what has none before byte {machine.at}")
    target.extend(items)


# Names of code and what is made of them.


def _name(machine: Machine, module: Value, name: Value) -> None:
    if type(module) is not str or type(name) is not str:
        raise malformed(f"there is no name before byte {machine.at}")
    found = machine.names.get((module, name))
    if found is None:
        found = machine.names[module, name] = Global(module, name)
        machine.spent_nbytes += _NAME_NBYTES + len(module) + len(name)
        if is_foreign(found):
            parts = (part[:_MAX_PART_NBYTES].encode("unicode_escape").decode() for part in (module, name))
            text = ".".join(parts)
            machine.spent_nbytes += 2 * NODE_NBYTES + len(text)
            machine.foreign.add(text)
    machine.push(found, 0)


def _global(machine: Machine) -> None:
    module = machine.line()
    _name(machine, module.decode(), machine.line().decode())


def _stack_global(machine: Machine) -> None:
    name = machine.stack.pop()
    _name(machine, machine.stack.pop(), name)


def _extension(machine: Machine, width: int) -> None:
    _name(machine, "copyreg", f"extension {machine.number(width)}")


def _call(machine: Machine, function: Value, args: Value) -> None:
    made = call(function, args)
    nbytes = NODE_NBYTES if type(args) is tuple else NODE_NBYTES + SLOT_NBYTES * len(args)
    if type(made) is Tensor and type(args) is tuple:
        nbytes -= ARGUMENTS_NBYTES + (NODE_NBYTES if has_no_hooks(args) else 0)
        nbytes += 0 if made.beside is NOTHING else NODE_NBYTES + 2 * _PAIR_NBYTES
    elif type(function) is not Global:
        nbytes += VALUE_NBYTES + _PAIR_NBYTES
    machine.push(made, nbytes)


def _reduce(machine: Machine) -> None:
    args = machine.stack.pop()
    _call(machine, machine.stack.pop(), args)


def _new_with_keywords(machine: Machine) -> None:
    keywords, args = machine.stack.pop(), machine.stack.pop()
    _call(machine, machine.stack.pop(), args)
    made = machine.stack[-1]
    if type(made) is Node:
        machine.spent_nbytes += _PAIR_NBYTES
        made.extend((STATE, keywords))


def _instance(machine: Machine) -> None:
    _global(machine)
    function = machine.stack.pop()
    _call(machine, function, machine.marked())


def _object(machine: Machine) -> None:
    function, *args = machine.marked() or [None]
    _call(machine, function, args)


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    machine.spent_nbytes += NODE_NBYTES + _PAIR_NBYTES
    if type(machine.stack[-1]) is Tensor:
        machine.spent_nbytes += NODE_NBYTES
    machine.stack.append(beside(machine.stack.pop(), state))


def _persistent(machine: Machine, given: Value) -> None:
    """Push what torch.save keeps outside of a pickle: a storage, or, as it did before 1.1, a class and its source."""
    if type(given) is tuple and len(given) >= 5 and given[0] == "storage":
        storage = _storage(given, machine.folder)
        machine.push(storage, NODE_NBYTES - ARGUMENTS_NBYTES)
    elif type(given) is tuple and len(given) >= 2 and given[0] == "module":
        machine.push(given[1], 0)
    else:
        machine.push(Node((ARGS, (given,))), NODE_NBYTES + VALUE_NBYTES + SLOT_NBYTES)


def _storage(given: tuple[Value, ...], folder: str) -> Storage:
    _, kind, key, _, numel, *view = given
    dtype = STORAGE_DTYPES.get((kind.module, kind.name)) if type(kind) is Global else None
    offset: Value = 0
    if view and view[0] is not None:
        offset, numel = view[0][1:] if type(view[0]) is tuple and len(view[0]) == 3 else (None, None)
    if dtype is None or type(key) not in (str, int) or type(numel) is not int or type(offset) is not int:
        raise malformed("a storage is not described by a class, a key and a length")
    if min(numel, offset) < 0:
        raise malformed("a storage has a negative length")
    return Storage(folder + str(key), dtype, numel, offset)


def _unknown(machine: Machine) -> None:
    raise malformed(f"there is no opcode {machine.data[machine.at - 1]} at byte {machine.at - 1}")


_OPCODES: dict[str, Callable[[Machine], None]] = {
    ".": _stop,
    "\x80": _protocol,
    "\x95": _frame,
    "(": Machine.mark,
    "0": _pop,
    "1": _pop_marked,
    "2": Machine.repeat,
    "N": lambda machine: machine.push(None, 0),
    "\x88": lambda machine: machine.push(True, 0),
    "\x89": lambda machine: machine.push(False, 0),
    "I": _integer_line,
    "L": lambda machine: machine.push(_digits(machine.line().removesuffix(b"L"))),
    "J": lambda machine: machine.push(int.from_bytes(machine.take(4), "little", signed=True), 32),
    "K": lambda machine: machine.push(machine.byte(), 0),
    "M": lambda machine: machine.push(machine.number(2), 32),
    "\x8a": lambda machine: machine.push_integer(machine.number(1)),
    "\x8b": lambda machine: machine.push_integer(machine.number(4)),
    "F": _float_line,
    "G": _float,
    "S": _quoted_line,
    "T": lambda machine: _old_text(machine, 4),
    "U": lambda machine: _old_text(machine, 1),
    "V": _text_line,
    "X": lambda machine: machine.push_text(machine.number(4)),
    "\x8c": lambda machine: machine.push_text(machine.number(1)),
    "\x8d": lambda machine: machine.push_text(machine.number(8)),
    "B": lambda machine: machine.push_bytes(machine.number(4)),
    "C": lambda machine: machine.push_bytes(machine.number(1)),
    "\x8e": lambda machine: machine.push_bytes(machine.number(8)),
    "\x96": lambda machine: machine.push_bytes(machine.number(8)),
    "\x97": lambda machine: machine.push(None, 0),
    "\x98": lambda _machine: None,
    ")": lambda machine: machine.push((), 0),
    "\x85": lambda machine: _last(machine, 1),
    "\x86": lambda machine: _last(machine, 2),
    "\x87": lambda machine: _last(machine, 3),
    "t": lambda machine: _tuple(machine, machine.marked()),
    "]": lambda machine: _list(machine, []),
    "l": lambda machine: _list(machine, machine.marked()),
    "\x8f": lambda machine: _list(machine, []),
    "\x91": lambda machine: _list(machine, machine.marked()),
    "}": lambda machine: _dict(machine, []),
    "d": lambda machine: _dict(machine, machine.marked()),
    "a": lambda machine: _append(machine, [machine.stack.pop()]),
    "e": lambda machine: _append(machine, machine.marked()),
    "\x90": lambda machine: _append(machine, machine.marked()),
    "s": lambda machine: _set_items(machine, list(reversed([machine.stack.pop(), machine.stack.pop()]))),
    "u": lambda machine: _set_items(machine, machine.marked()),
    "p": lambda machine: machine.put(_digits(machine.line()) or 0),
    "q": lambda machine: machine.put(machine.byte()),
    "r": lambda machine: machine.put(machine.number(4)),
    "\x94": Machine.put_next,
    "g": lambda machine: machine.get(_digits(machine.line()) or 0),
    "h": lambda machine: machine.get(machine.byte()),
    "j": lambda machine: machine.get(machine.number(4)),
    "c": _global,
    "\x93": _stack_global,
    "\x82": lambda machine: _extension(machine, 1),
    "\x83": lambda machine: _extension(machine, 2),
    "\x84": lambda machine: _extension(machine, 4),
    "R": _reduce,
    "\x81": _reduce,
    "\x92": _new_with_keywords,
    "i": _instance,
    "o": _object,
    "b": _build,
    "P": lambda machine: _persistent(machine, machine.line().decode()),
    "Q": lambda machine: _persistent(machine, machine.stack.pop()),
}

_STEPS = tuple(_OPCODES.get(chr(code), _unknown) for code in range(256))
"""What each opcode does, by its byte."""
