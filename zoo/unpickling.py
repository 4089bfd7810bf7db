"""The pickles of PyTorch, followed instruction by instruction: what they describe, while nothing in them is run.

Python's own unpickler builds what it is told, and then there are references from anywhere to anything, numbers of any
size, and functions whose attributes can be set. This one knows the instructions that a state dict is made of, and makes
dictionaries, lists, texts, numbers and descriptions of tensors.
"""

import pickletools
from typing import NamedTuple

from zoo.archive import Unreadable, brief

# The largest pickles of published weights have some 50 instructions for each of some thousands of tensors.
MAX_INSTRUCTIONS = 2_000_000
# How many dimensions NumPy's arrays may have, and arguments the functions that are stood in for.
MAX_DIMENSIONS, _MAX_ARGUMENTS = 64, 8

_ORDERED_DICT = ("collections", "OrderedDict")
_REBUILD_TENSOR = ("torch._utils", "_rebuild_tensor_v2")
_REBUILD_PARAMETER = ("torch._utils", "_rebuild_parameter")


class Refused(Exception):
    """A pickle asks for what is no part of a state dict."""


class Storage(NamedTuple):
    """Numbers in another place of the file: what they are called in PyTorch, the name of the place, and how many."""

    kind: str
    name: str
    count: int


class Tensor(NamedTuple):
    """A tensor as a pickle describes it: a window on a storage, in numbers instead of bytes."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


class OtherKey:
    """Stands for a key of a dictionary that is no text. Two of them are never equal, so that none is ever compared."""

    def __repr__(self):
        """Short, for messages."""
        return "(a key that is no text)"


class _Global(NamedTuple):
    """What a pickle calls by its name."""

    module: str
    name: str


def load(file, kinds):
    """The next object of a file, by the instructions that PyTorch writes.

    Args:
        file: Binary file in memory, `io.BytesIO`; it is left after the pickle.
        kinds: Names of the storages of PyTorch that may be asked for.

    Returns:
        The object and the storages that it asks for, {name: `Storage`}.

    Raises:
        Refused: If it asks for anything else, which nothing here could run.
        Unreadable: If it is no whole pickle, or has too many instructions.
    """
    machine = _Machine(kinds)
    try:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(file)):
            if count == MAX_INSTRUCTIONS:
                raise Unreadable(f"its pickle has more than {MAX_INSTRUCTIONS:,} instructions")
            machine.follow(instruction.name, argument)
    except (Refused, Unreadable):
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise Unreadable(f"its pickle is damaged ({type(error).__name__}: {brief(str(error))})") from None
    if machine.marks or len(machine.stack) != 1:
        raise Unreadable("its pickle is damaged (it ends before its object does)")
    return machine.stack[0], machine.storages


class _Machine:
    """The state of a pickle that is followed: a stack, where its lists begin, and what was kept to be named again."""

    def __init__(self, kinds):
        self.stack, self.marks, self.memo, self.storages, self.copied = [], [], {}, {}, 0
        self.names = {_ORDERED_DICT, _REBUILD_TENSOR, _REBUILD_PARAMETER} | {("torch", kind) for kind in kinds}

    def follow(self, instruction, argument):
        """One instruction."""
        if instruction in _VALUES:
            self.stack.append(argument)
        elif instruction in _MADE:
            self.stack.append(_MADE[instruction]())
        elif instruction in _STEPS:
            _STEPS[instruction](self, argument)
        elif instruction not in ("PROTO", "FRAME", "STOP"):
            raise Refused(f"the instruction {instruction}")

    def text(self, argument):
        """A text of Python 2, which pickletools shows as Latin-1."""
        self.stack.append(argument.encode("latin-1").decode("utf-8"))

    def mark(self, _):
        self.marks.append(len(self.stack))

    def since_mark(self):
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def tuple_since_mark(self, _):
        self.stack.append(tuple(self.since_mark()))

    def tuple_of(self, count):
        if len(self.stack) < count:
            raise IndexError("nothing is there to be taken")
        found = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(found)

    def put(self, place):
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]

    def get(self, place):
        self.stack.append(self.memo[place])

    def append(self, _):
        one = self.stack.pop()
        _of(self.stack[-1], list).append(one)

    def appends(self, _):
        found = self.since_mark()
        _of(self.stack[-1], list).extend(found)

    def set_item(self, _):
        value, key = self.stack.pop(), self.stack.pop()
        _set(_of(self.stack[-1], dict), [key, value])

    def set_items(self, _):
        found = self.since_mark()
        _set(_of(self.stack[-1], dict), found)

    def named(self, argument):
        module, _, name = argument.partition(" ")
        self.name(module, name)

    def named_on_stack(self, _):
        name, module = self.stack.pop(), self.stack.pop()
        self.name(_of(module, str), _of(name, str))

    def name(self, module, name):
        if (module, name) not in self.names:
            raise Refused(f"{brief(module)}.{brief(name)}")
        self.stack.append(_Global(module, name))

    def call(self, _):
        arguments, function = _of(self.stack.pop(), tuple), _of(self.stack.pop(), _Global)
        if len(arguments) > _MAX_ARGUMENTS:
            raise Unreadable(f"its pickle is damaged (it calls {function.name} with {len(arguments)} arguments)")
        if function == _ORDERED_DICT:
            made = self.ordered_dict(*arguments)
        elif function == _REBUILD_TENSOR:
            made = _tensor(*arguments)
        elif function == _REBUILD_PARAMETER:
            made = _of(arguments[0], Tensor)
        else:
            raise Unreadable(f"its pickle is damaged (it calls {function.name})")
        self.stack.append(made)

    def ordered_dict(self, pairs=()):
        """From pairs, as Python 2 wrote it. One list may be named again and again, so its length counts each time."""
        self.copied += len(_of(pairs, list | tuple))
        if self.copied > MAX_INSTRUCTIONS:
            raise Unreadable(f"its pickle copies more than {MAX_INSTRUCTIONS:,} items")
        made = {}
        for pair in pairs:
            key, value = pair if len(_of(pair, list | tuple)) == 2 else ()
            _set(made, [key, value])
        return made

    def attributes(self, _):
        """What modules leave on their state dicts, such as the versions of layers, is not needed."""
        self.stack.pop()
        _of(self.stack[-1], dict)

    def storage(self, _):
        key = self.stack.pop()
        is_whole = isinstance(key, tuple) and len(key) in (5, 6)
        label, kind, name, _, count, *view = key if is_whole else (None,) * 5
        is_kind = isinstance(kind, _Global) and kind.module == "torch"
        if label != "storage" or not is_kind or not isinstance(name, str | int) or type(count) is not int:
            raise Unreadable("it asks for something else where a storage should be")
        if any(one is not None for one in view):
            raise Unreadable("it asks for a part of another where a storage should be")
        if not 0 <= count < 2**62:
            raise Unreadable(f"a storage has {brief(count)} numbers")
        found = Storage(kind.name, str(name), count)
        if self.storages.setdefault(found.name, found) != found:
            raise Unreadable(f"it describes its storage {brief(found.name)} in two ways")
        self.stack.append(found)


def _of(one, kind):
    if not isinstance(one, kind):
        raise TypeError(f"{type(one).__name__} instead of {kind.__name__}")
    return one


def _set(target, keys_and_values):
    for key, value in zip(keys_and_values[::2], keys_and_values[1::2], strict=True):
        target[key if isinstance(key, str) else OtherKey()] = value


def _tensor(storage, offset, shape, strides, *_):
    """What stands for PyTorch's function of this name."""
    if not all(isinstance(one, tuple | list) for one in (shape, strides)) or not isinstance(storage, Storage):
        raise Unreadable("it describes a tensor wrongly (without a storage, a shape and strides)")
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise Unreadable(f"it describes a tensor wrongly ({len(shape)} sides and {len(strides)} strides)")
    if any(type(one) is not int for one in (offset, *shape, *strides)):
        raise Unreadable("it describes a tensor wrongly (in other terms than whole numbers)")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


# Instructions that put their argument on the stack, those that put something new there, and all others.
_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}
_MADE = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
_STEPS = {
    "MARK": _Machine.mark,
    "TUPLE": _Machine.tuple_since_mark,
    **{f"TUPLE{count}": lambda machine, _, count=count: machine.tuple_of(count) for count in (1, 2, 3)},
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), _Machine.text),
    "APPEND": _Machine.append,
    **dict.fromkeys(("APPENDS", "ADDITEMS"), _Machine.appends),
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.named,
    "STACK_GLOBAL": _Machine.named_on_stack,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.attributes,
    "BINPERSID": _Machine.storage,
}
