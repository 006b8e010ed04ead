"""Files as ``torch.save`` writes them, made by hand, so that no test needs PyTorch to have one."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STORAGES = {
    **dict(zip(("f2", "f4", "f8"), ("Half", "Float", "Double"), strict=True)),
    **dict(zip(("i1", "i2", "i4", "i8"), ("Char", "Short", "Int", "Long"), strict=True)),
    **dict(zip(("u1", "b1", "c8"), ("Byte", "Bool", "ComplexFloat"), strict=True)),
}
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Global(NamedTuple):
    module: str
    name: str


class Call(NamedTuple):
    function: Any
    arguments: tuple[Any, ...]


class Reference(NamedTuple):
    identity: tuple[Any, ...]


class Raw(NamedTuple):
    """Instructions as they are."""

    code: bytes


def instructions(value: Any) -> bytes:
    """Of a pickle that leaves ``value`` on the stack."""
    many: dict[type, tuple[bytes, bytes]] = {
        tuple: (b"(", b"t"),
        list: (b"](", b"e"),
        dict: (b"}(", b"u"),
    }
    if isinstance(value, Raw):
        return value.code
    if isinstance(value, Global):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, Call):
        return instructions(value.function) + instructions(value.arguments) + b"R"
    if isinstance(value, Reference):
        return instructions(value.identity) + b"Q"
    if type(value) in many:
        begin, end = many[type(value)]
        parts = [x for pair in value.items() for x in pair] if type(value) is dict else value
        return begin + b"".join(instructions(part) for part in parts) + end
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        size = value.bit_length() // 8 + 1
        return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
    text = value.encode()
    return b"X" + struct.pack("<I", len(text)) + text


def pickled(value: Any) -> bytes:
    """A pickle of protocol 2."""
    return b"\x80\x02" + instructions(value) + b"."


def storage(key: str, array: np.ndarray, *, numbers: int | None = None) -> Reference:
    kind = Global("torch", f"{STORAGES[array.dtype.str[1:]]}Storage")
    return Reference(("storage", kind, key, "cpu", array.size if numbers is None else numbers))


def tensor(
    reference: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0
) -> Call:
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    hooks = Call(Global("collections", "OrderedDict"), ())
    return Call(rebuild, (reference, offset, shape, strides, False, hooks))


def whole(key: str, array: np.ndarray) -> Call:
    """An array that fills a storage of its own."""
    strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides)
    return tensor(storage(key, array), array.shape, strides[: array.ndim])


def write_zip(
    path: Path, program: bytes, data: dict[str, bytes] | None = None, **options: Any
) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("archive/data.pkl", program)
        for key, content in (data or {}).items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def write_legacy(path: Path, program: bytes, arrays: dict[str, np.ndarray]) -> Path:
    """The layout from before PyTorch 1.6."""
    file = io.BytesIO()
    for value in (MAGIC, PROTOCOL, {"little_endian": True, "type_sizes": {"int": 4}}):
        file.write(pickled(value))
    file.write(program)
    file.write(pickled(list(arrays)))
    for array in arrays.values():
        file.write(struct.pack("<q", array.size) + array.tobytes())
    path.write_bytes(file.getvalue())
    return path


def save_state(path: Path, state: dict[str, np.ndarray], *, legacy: bool = False) -> Path:
    """A state dict of whole tensors."""
    arrays = {str(number): np.ascontiguousarray(x) for number, x in enumerate(state.values())}
    shapes = [np.shape(array) for array in state.values()]
    found = {
        name: whole(key, array.reshape(shape))
        for (key, array), name, shape in zip(arrays.items(), state, shapes, strict=True)
    }
    if not legacy:
        return write_zip(path, pickled(found), {key: x.tobytes() for key, x in arrays.items()})
    for name, call in found.items():  # there, a reference names the part of the storage too
        reference, *rest = call.arguments
        found[name] = Call(call.function, (Reference((*reference.identity, None)), *rest))
    return write_legacy(path, pickled(found), arrays)
