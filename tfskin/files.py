"""Atomic writes: a file or folder is there whole, or as it was before."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_LONGEST = 180
"""Bytes of a name that its temporary file takes over; file systems take 255 with what is added."""
_ENDING = r"[a-z0-9_]{8}(\.\w+)?"  # of tempfile, and a suffix
_LEFTOVER = re.compile(rf"\.writing-(.*-)?{_ENDING}", re.DOTALL)


@contextmanager
def replace_file(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without error.

    The temporary file keeps the suffix of ``path`` (Keras and Matplotlib choose the format by it).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        prefix=_prefix("writing", path), suffix=path.suffix, dir=path.parent
    )
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
    beside ``path``; see :func:`restore_folder`.

    Raises:
        FileExistsError: ``path`` is there and ``overwrite`` is false.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=_prefix("writing", path), dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            if not overwrite:  # it came while the block ran
                raise FileExistsError(path)
            old = Path(tempfile.mkdtemp(prefix=_prefix("old", path), dir=path.parent))
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


def restore_folder(path: Path) -> None:
    """Put back a folder that a killed :func:`replace_folder` moved away; nobody may write it now.

    Where the folder is there, what was moved away is deleted.
    """
    for old in _temporaries(path, "old"):
        if not path.exists() and any(old.iterdir()):
            old.replace(path)
        else:
            shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(
    path: Path, *, before: float, spared: Callable[[Path], bool] = lambda folder: False
) -> None:
    """Delete what killed writers of a folder or file left beside it and within; nobody may write
    there now.

    Args:
        path: the folder or file.
        before: seconds since the epoch; what was changed later stays.
        spared: which folders within are not looked into.
    """
    found = _temporaries(path, "writing")
    for place, folders, files in os.walk(path):
        left = [name for name in (*folders, *files) if _LEFTOVER.fullmatch(name)]
        found += [Path(place, name) for name in left]
        folders[:] = [
            name for name in folders if name not in left and not spared(Path(place, name))
        ]
    for one in found:
        with suppress(OSError):
            if one.stat().st_mtime >= before:
                continue
            if one.is_dir():
                shutil.rmtree(one, ignore_errors=True)
            else:
                one.unlink(missing_ok=True)


def hidden_name(path: Path) -> str:
    """The name of a file or folder for the name of another beside it; short enough for that."""
    name = os.fsencode(path.name)
    if len(name) <= _LONGEST:
        return path.name
    digest = hashlib.sha256(name).hexdigest()[:16]
    return name[: _LONGEST - 17].decode("utf-8", "ignore") + f"-{digest}"


def _prefix(kind: str, path: Path) -> str:
    return f".{kind}-{hidden_name(path)}-"


def _temporaries(path: Path, kind: str) -> list[Path]:
    """What :func:`replace_file` and :func:`replace_folder` have beside ``path``."""
    known = re.compile(re.escape(_prefix(kind, path)) + _ENDING)
    if not path.parent.is_dir():
        return []
    return [one for one in path.parent.iterdir() if known.fullmatch(one.name)]


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
