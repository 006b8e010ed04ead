"""An interpreter of the pickles that PyTorch writes, which calls nothing but its own functions.

A pickle is a program. The few instructions that plain containers and tensors need are run here, so
that a file cannot run code or ask for much more memory than it is long.
"""

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

BFLOAT16 = "bfloat16"
"""NumPy has no such type: its 16 bits are the upper half of a float32."""

STORAGES = {
    "Float": "<f4",
    "Double": "<f8",
    "Half": "<f2",
    "BFloat16": BFLOAT16,
    "Bool": "|b1",
    "Byte": "|u1",
    "Char": "|i1",
    "Short": "<i2",
    "Int": "<i4",
    "Long": "<i8",
    "ComplexFloat": "<c8",
    "ComplexDouble": "<c16",
}
UNTYPED = "|u1"
TYPES = {
    "uint8": "|u1",
    "int8": "|i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
    "uint16": "<u2",
    "uint32": "<u4",
    "uint64": "<u8",
    "bool": "|b1",
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
    "bfloat16": BFLOAT16,
}


def width(code: str) -> int:
    """Bytes of a number."""
    return 2 if code == BFLOAT16 else np.dtype(code).itemsize


class Kind(NamedTuple):
    """A class of storage or a type of number."""

    code: str


class Storage(NamedTuple):
    """Where numbers are: a record of the file, or a part of it (both counted in numbers)."""

    key: str
    code: str
    numbers: int
    part: tuple[int, int] | None = None

    @property
    def length(self) -> int:
        """Bytes."""
        return self.numbers * width(self.code)


class Tensor(NamedTuple):
    """How a tensor lies in its storage; sizes and strides are counted in numbers."""

    storage: Storage
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    code: str


def run_pickle(stream: BinaryIO, storages: dict[str, Storage] | None = None) -> Any:
    """What a pickle holds; the stream then stands behind it.

    Args:
        stream: that begins with a pickle.
        storages: gets the storages that the pickle names, by their keys.

    Raises:
        ValueError: it is damaged, or asks for anything but plain containers and tensors.
    """
    machine = _Machine({} if storages is None else storages)
    try:
        for instruction, argument, _ in pickletools.genops(stream):
            if instruction.name == "STOP":
                break
            if instruction.name not in INSTRUCTIONS:
                raise ValueError(
                    f"its pickle has the instruction {instruction.name}; only tensors are read: "
                    "save model.state_dict()"
                )
            INSTRUCTIONS[instruction.name](machine, argument)
        return machine.stack.pop()
    except (IndexError, KeyError):
        raise ValueError("its pickle is damaged") from None


class _Machine:
    """The state of a pickle that runs, and one method for each kind of instruction."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages = storages

    def pop(self, count: int) -> list[Any]:
        """The last values."""
        if count > len(self.stack):
            raise IndexError
        begin = len(self.stack) - count
        values = self.stack[begin:]
        del self.stack[begin:]
        return values

    def since_mark(self) -> list[Any]:
        """The values since the last mark."""
        return self.pop(len(self.stack) - self.marks.pop())

    def append(self, values: list[Any]) -> None:
        """Put values into the list below them."""
        _expect(list, self.stack[-1]).extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Put keys and values in turn into the dict below them."""
        _put(_expect(dict, self.stack[-1]), values[::2], values[1::2])

    def remember(self, place: int) -> None:
        """Keep the last value for later."""
        self.memo[place] = self.stack[-1]

    def find(self, module: Any, name: Any) -> None:
        """Put what a pickle asks for by name on the stack."""
        wanted = f"{module}.{name}"
        if wanted not in KNOWN:
            raise ValueError(
                f"its pickle asks for {wanted[:80]!r}; only tensors are read: save "
                "model.state_dict()"
            )
        self.stack.append(KNOWN[wanted])

    def call(self) -> None:
        """Call a function of this file."""
        function, arguments = self.pop(2)
        if not callable(function):
            raise ValueError(f"its pickle calls a {type(function).__name__}")
        try:
            self.stack.append(function(*_expect(tuple, arguments)))
        except TypeError:
            raise ValueError(f"its pickle gives {function.__name__} other arguments") from None

    def drop_state(self) -> None:
        """Leave out what an ordered dict has beside its items, such as versions of modules."""
        self.stack.pop()
        _expect(dict, self.stack[-1])

    def refer(self) -> None:
        """Put the storage that a pickle refers to on the stack."""
        storage = _storage(*_expect(tuple, self.stack.pop()))
        self.storages.setdefault(storage.key, storage._replace(part=None))
        self.stack.append(storage)


Instruction = Callable[[_Machine, Any], None]


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _nothing(machine: _Machine, argument: Any) -> None:
    pass


INSTRUCTIONS: dict[str, Instruction] = {
    **dict.fromkeys(("PROTO", "FRAME"), _nothing),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"), _push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), _push),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), _push),
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.stack.append(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: machine.stack.append(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: machine.stack.append(tuple(machine.pop(3))),
    "APPEND": lambda machine, _: machine.append(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "BINPUT": lambda machine, place: machine.remember(place),
    "LONG_BINPUT": lambda machine, place: machine.remember(place),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "GLOBAL": lambda machine, names: machine.find(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.find(*machine.pop(2)),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.drop_state(),
    "BINPERSID": lambda machine, _: machine.refer(),
}


def _expect(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"its pickle takes a {type(value).__name__} for a {kind.__name__}")
    return value


def _put(target: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
    # Nested tuples as keys take for ever to hash.
    if not all(isinstance(key, str | int) for key in keys):
        raise ValueError("its pickle has a dict whose keys are neither text nor whole numbers")
    target.update(zip(keys, values, strict=True))


def _storage(*identity: Any) -> Storage:
    """The storage of ``("storage", class, key, device, numbers[, part])``."""
    if len(identity) not in (5, 6) or identity[0] != "storage":
        raise ValueError("its pickle refers to something that is no storage")
    _, kind, key, _, numbers = identity[:5]
    part = None
    if identity[5:] not in ((), (None,)):
        begin, length = _whole_numbers(_expect(tuple, identity[5])[1:], 2)
        part = begin, length
    return Storage(_expect(str, key), _expect(Kind, kind).code, _whole_number(numbers), part)


def _tensor(storage: Any, offset: Any, sizes: Any, strides: Any, *_: Any) -> Tensor:
    return _tensor_of_type(
        storage, offset, sizes, strides, None, None, Kind(_expect(Storage, storage).code)
    )


def _tensor_of_type(
    storage: Any, offset: Any, sizes: Any, strides: Any, _grad: Any, _hooks: Any, kind: Any, *_: Any
) -> Tensor:
    shape = _whole_numbers(sizes)
    return Tensor(
        _expect(Storage, storage),
        _whole_number(offset),
        shape,
        _whole_numbers(strides, len(shape)),
        _expect(Kind, kind).code,
    )


def _parameter(tensor: Any, *_: Any) -> Tensor:
    return _expect(Tensor, tensor)


def _ordered_dict(items: Any = ()) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for pair in items:
        _put(found, [pair[0]], [pair[1]])
    return found


def _whole_number(value: Any) -> int:
    return _whole_numbers((value,), 1)[0]


def _whole_numbers(values: Any, count: int | None = None) -> tuple[int, ...]:
    if (
        type(values) is not tuple
        or not all(type(value) is int for value in values)
        or (count is not None and len(values) != count)
    ):
        raise ValueError("its pickle has a tensor whose shape is none")
    return values


KNOWN: dict[str, Any] = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _whole_numbers,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.storage.UntypedStorage": Kind(UNTYPED),
    **{f"torch.{name}": Kind(code) for name, code in TYPES.items()},
    **{
        f"torch.{device}{name}Storage": Kind(code)
        for device in ("", "cuda.")
        for name, code in STORAGES.items()
    },
}
"""All that a pickle may ask for."""
