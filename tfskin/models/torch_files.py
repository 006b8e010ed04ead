"""Tensors of the files that ``torch.save`` writes, without PyTorch and without running a pickle."""

import io
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tfskin.models.torch_pickle import BFLOAT16, Storage, Tensor, run_pickle, width

LARGEST_EXPANDED = 1 << 24
"""Numbers of a tensor that repeats those of its storage."""

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""What the first two pickles of a file from before PyTorch 1.6 hold."""


def read_torch_tensors(path: Path) -> dict[str, np.ndarray]:
    """Name -> tensor of a state dict, or of the one under ``state_dict``.

    Reads the zip files that PyTorch has written since 1.6 and the older ones. Tensors are
    read-only arrays of the shape and type that they had; bfloat16 becomes float32. What is no
    tensor is left out.

    Raises:
        ValueError: neither kind of file, a file that is cut short, records that are compressed,
            a tensor that reaches beyond its record, or a pickle that asks for anything but plain
            containers and tensors.
    """
    with path.open("rb") as file:
        found, records = _read_zip(file) if zipfile.is_zipfile(file) else _read_legacy(file)
    state = found.get("state_dict", found) if isinstance(found, dict) else None
    items = state.items() if isinstance(state, dict) else ()
    tensors = {key: value for key, value in items if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError("holds no tensors by name; save model.state_dict()")
    storages: dict[tuple[Storage, str], np.ndarray] = {}
    return {str(key): _rebuild(tensor, records, storages) for key, tensor in tensors.items()}


@dataclass(frozen=True)
class _Records:
    """The bytes of each storage by its key, and whether numbers begin with their high byte."""

    data: Mapping[str, bytes | memoryview]
    big_endian: bool = False

    def of(self, storage: Storage) -> np.ndarray:
        """The bytes of a storage, uint8."""
        found = self.data.get(storage.key, b"")
        if len(found) != storage.length:
            raise ValueError(
                f"storage {storage.key[:40]!r} should have {storage.length} bytes and has "
                f"{len(found)}; is the file whole?"
            )
        return np.frombuffer(found, np.uint8)


def _read_zip(file: BinaryIO) -> tuple[Any, _Records]:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        size = file.seek(0, os.SEEK_END)
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("holds compressed records, which torch.save does not write")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its records are longer than the file")
        names = [entry.filename for entry in entries]
        programs = [name for name in names if name.endswith("/data.pkl")]
        if len(programs) != 1:
            raise ValueError("is a zip file, but not one of torch.save: it has no data.pkl")
        folder = programs[0].removesuffix("data.pkl")
        found = run_pickle(io.BytesIO(archive.read(programs[0])))
        order = f"{folder}byteorder"
        big_endian = order in names and archive.read(order).strip() == b"big"
        start = f"{folder}data/"
        data = {
            name.removeprefix(start): archive.read(name) for name in names if name.startswith(start)
        }
    return found, _Records(data, big_endian)


def _read_legacy(file: BinaryIO) -> tuple[Any, _Records]:
    """Pickles of the magic number, the version, the machine, the object and the storages' keys.

    Then, storage by storage, how many numbers it has (int64) and the numbers, little-endian.
    """
    file.seek(0)
    content = file.read()
    stream = io.BytesIO(content)
    if run_pickle(stream) != MAGIC or run_pickle(stream) != PROTOCOL:
        raise ValueError("is no file of torch.save")
    run_pickle(stream)
    storages: dict[str, Storage] = {}
    found = run_pickle(stream, storages)
    keys = run_pickle(stream)
    if type(keys) is not list or not all(type(key) is str and key in storages for key in keys):
        raise ValueError("lists storages that no tensor has")
    data: dict[str, memoryview] = {}
    for key in keys:
        numbers = int.from_bytes(stream.read(8), "little", signed=True)
        begin, length = stream.tell(), storages[key].length
        if numbers != storages[key].numbers or not 0 <= length <= len(content) - begin:
            raise ValueError(
                f"storage {key[:40]!r} should have {storages[key].numbers} numbers; is the file "
                "whole?"
            )
        data[key] = memoryview(content)[begin : begin + length]
        stream.seek(begin + length)
    return found, _Records(data)


def _rebuild(
    tensor: Tensor, records: _Records, storages: dict[tuple[Storage, str], np.ndarray]
) -> np.ndarray:
    """The tensor as a view of its storage, which it cannot leave."""
    storage, sizes, strides = tensor.storage, tensor.sizes, tensor.strides
    place = (storage, tensor.code)
    if place not in storages:
        data = records.of(storage)
        storages[place] = _as_numbers(data, tensor.code, big_endian=records.big_endian)
    numbers = storages[place]
    if storage.part is not None:
        begin, length = storage.part
        if not 0 <= begin <= begin + length <= len(numbers):
            raise ValueError(f"storage {storage.key[:40]!r} is shorter than its part")
        numbers = numbers[begin : begin + length]
    last = tensor.offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    if min((*sizes, *strides, tensor.offset)) < 0 or (all(sizes) and last >= len(numbers)):
        raise ValueError(
            f"a tensor of shape {sizes} reaches beyond the {len(numbers)} numbers of storage "
            f"{storage.key[:40]!r}"
        )
    if math.prod(sizes) > max(len(numbers), LARGEST_EXPANDED):
        raise ValueError(f"a tensor of shape {sizes} repeats {len(numbers)} numbers too often")
    if not all(sizes):
        return np.zeros(sizes, numbers.dtype)
    steps = [stride * numbers.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], sizes, steps, writeable=False)


def _as_numbers(data: np.ndarray, code: str, *, big_endian: bool) -> np.ndarray:
    if len(data) % width(code):
        raise ValueError(f"a storage of {len(data)} bytes holds no whole numbers of {code}")
    kind = np.dtype("<u2" if code == BFLOAT16 else code)
    numbers = data.view(kind.newbyteorder(">") if big_endian else kind)
    if code == BFLOAT16:
        return (numbers.astype("u4") << 16).view("f4")
    return numbers.astype(kind.newbyteorder("="), copy=False)
