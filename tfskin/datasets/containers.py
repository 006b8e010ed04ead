"""Images inside one HDF5 file, named by a path such as ``train-image.hdf5::ISIC_0015670``."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tfskin.errors import UserError

_SEPARATOR = "::"
_SUFFIXES = (".hdf5", ".h5")
_opened = threading.local()


def container_path(file: Path | str, name: str) -> str:
    """The path that stands for the image ``name`` in an HDF5 file."""
    return f"{file}{_SEPARATOR}{name}"


def split_container_path(path: Path | str) -> tuple[str, str] | None:
    """``(file, name)`` of a path that :func:`container_path` made, or None for a plain file."""
    file, separator, name = str(path).rpartition(_SEPARATOR)
    return (file, name) if separator and file.lower().endswith(_SUFFIXES) else None


def list_container(file: Path) -> list[str]:
    """The names of the images in an HDF5 file.

    Raises:
        UserError: the file cannot be read.
    """
    import h5py

    try:
        with h5py.File(file, "r") as handle:
            return list(handle)
    except OSError as error:
        raise _unreadable(file, error) from None


def read_container(file: str, name: str) -> bytes:
    """The bytes of one image. Each thread keeps the file open between calls.

    Raises:
        UserError: the file or the image cannot be read.
    """
    try:
        return bytes(_open(file)[name][()])
    except OSError as error:
        raise _unreadable(file, error) from None
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{container_path(file, name)}: holds no bytes of an image") from None


def _open(file: str) -> Any:
    import h5py

    if getattr(_opened, "name", None) != file:
        _opened.handle = h5py.File(file, "r")
        _opened.name = file
    return _opened.handle


def _unreadable(file: Path | str, error: OSError) -> UserError:
    reason = " ".join(str(error).split())
    return UserError(f"{file}: cannot be read as HDF5 ({reason}); download it again")
