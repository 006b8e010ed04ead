"""One writer at a time: whoever writes a folder or a table holds a lock that lies beside it."""

import json
import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tfskin.errors import UserError, shorten
from tfskin.files import hidden_name, remove_leftovers, restore_folder

logger = logging.getLogger(__name__)

_held: dict[Path, int] = {}
"""What this process holds, and the thread that does."""
_guard = threading.Lock()


@contextmanager
def only_writer(path: Path | str, *, nested: bool = False, wait: float = 0) -> Iterator[None]:
    """Hold a folder or a file for this process, from before its first byte to after its last.

    The lock is the file ``.<name>.lock`` beside it, which names its holder and goes when the block
    ends. It is the system's own (``flock``, ``LockFileEx``), so one whose process was killed holds
    nobody up. What a killed writer left of this folder or file is then cleared, and a folder that
    it had moved away is put back. Where the system has no locks (some network disks) a line is
    logged and nothing is cleared: it might belong to a process that still writes.

    Args:
        path: the folder or file; it need not be there.
        nested: whether this thread may hold it already.
        wait: seconds to wait for another process.

    Raises:
        UserError: another process has it; the line names that process and since when.
    """
    target = Path(os.path.realpath(path))
    with _guard:
        mine = _held.get(target)
        if mine is None:
            _held[target] = threading.get_ident()
    if mine is not None:
        if not nested or mine != threading.get_ident():
            raise UserError(f"{path}: this process writes it already; wait until that ends")
        yield
        return
    lock, parent = None, lock_path(target).parent
    made = [one for one in (parent, *parent.parents) if not one.exists()]
    try:
        lock = _acquire(path, target, wait)
        if lock is not None:
            since = time.time()
            restore_folder(target)
            remove_leftovers(target, before=since, spared=_is_locked)
        yield
    finally:
        if lock is not None:
            _release(lock)
        for folder in made:  # nothing was written
            with suppress(OSError):
                folder.rmdir()
        with _guard:
            del _held[target]


def lock_path(path: Path | str) -> Path:
    """Where the lock of a folder or file lies: beside it, or in a folder whose own can't be
    written.
    """
    target = Path(os.path.realpath(path))
    parent = target.parent
    if target.is_dir() and not os.access(parent, os.W_OK):
        parent = target
    return parent / f".{hidden_name(target)}.lock"


def _is_locked(folder: Path) -> bool:
    """Whether a folder has a lock of its own, be it a dead one."""
    return lock_path(folder).exists()


def _acquire(path: Path | str, target: Path, wait: float) -> FileLock | None:
    place = lock_path(target)
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place, thread_local=False, fallback_to_soft=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lock.acquire(timeout=wait, poll_interval=0.05)
    except Timeout:
        raise UserError(f"{path}: {_describe_holder(place)}; wait until it ends") from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, PermissionError | FileNotFoundError) or not place.exists():
            raise
        place.unlink(missing_ok=True)
        logger.info(f"{path}: can't be locked here ({error}); see that nobody else writes it")
        return None
    _note(place)
    return lock


def _release(lock: FileLock) -> None:
    # Deleted while it is held: whoever opened it meanwhile sees that it is gone, and starts anew.
    # Windows lets nobody delete an open file; there the library does it afterwards.
    with suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()


def _note(place: Path) -> None:
    """Write into the lock who holds it; byte 0 is what Windows locks."""
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    with suppress(OSError), place.open("r+b", buffering=0) as file:
        file.seek(1)
        file.truncate(1)
        file.write(json.dumps(holder).encode())


def _describe_holder(place: Path) -> str:
    try:
        with place.open("rb", buffering=0) as file:
            file.seek(1)
            holder: dict[str, Any] = json.loads(file.read(4096))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(holder["since"])))
        host = "" if holder["host"] == socket.gethostname() else f" on {holder['host']}"
        return shorten(f"process {int(holder['pid'])}{host} has been writing it since {since}", 200)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return "another process is writing it"
