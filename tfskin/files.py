"""Atomic writes: a file or folder is there whole, or as it was before."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfskin.errors import UserError


@contextmanager
def replace_file(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without error.

    The temporary file keeps the suffix of ``path`` (Keras and Matplotlib choose the format by it).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".writing-", suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replace_folder(path: Path | str, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``path`` that is renamed to it when the block ends without error.

    A process that is killed between the two renames of an overwrite leaves the old folder hidden
    beside ``path``; see :func:`restore_folders`.

    Raises:
        FileExistsError: ``path`` is there and ``overwrite`` is false.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".writing-{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            if not overwrite:  # it came while the block ran
                raise FileExistsError(path)
            old = Path(tempfile.mkdtemp(prefix=f".old-{path.name}-", dir=path.parent))
            path.replace(old)
            try:
                temporary.replace(path)
            except OSError:
                old.replace(path)
                raise
            shutil.rmtree(old)
        else:
            _move_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def restore_folders(folder: Path) -> None:
    """Put back what a killed :func:`replace_folder` moved away; nobody may write there now."""
    for old in list(folder.glob(".old-*")):
        path = folder / old.name.removeprefix(".old-").rpartition("-")[0]
        if not path.exists() and any(old.iterdir()):
            old.replace(path)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed writers left in a folder and those within; nobody may write there now."""
    for path in list(folder.rglob(".writing-*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def lock_folder(folder: Path, busy: str) -> Iterator[bool]:
    """Whether the folder could be locked for this process; the lock goes when the process ends.

    It can't where the system has no locks (Windows, some network disks).

    Args:
        folder: must be there.
        busy: what to say when another process has it.

    Raises:
        UserError: another process has it.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except BlockingIOError:
            raise UserError(f"{folder}: {busy}; wait until it ends") from None
        except OSError:
            locked = False
        yield locked
    finally:
        os.close(handle)


def _move_folder(source: Path, target: Path) -> None:
    """Rename a folder to a name that is free; the system never replaces a folder with files."""
    try:
        source.replace(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(target) from None
        raise


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def digest_files(*paths: Path) -> str:
    """SHA-256 of what files hold, in this order, in hexadecimal; missing ones are left out."""
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def is_formula(text: str) -> bool:
    """Whether a spreadsheet that opens a table would run a cell of that text.

    It takes whatever begins with ``=``, ``@``, ``+`` or ``-`` for a formula; without a bracket, a
    bar or an exclamation mark, the last two can do no more than look wrong.
    """
    return text[:1] in ("=", "@") or (text[:1] in ("+", "-") and any(c in text for c in "(|!"))


def read_json(path: Path | str) -> Any:
    """The value of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
