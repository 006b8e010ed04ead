"""The lines of news that tfskin tells its user, for tests that listen."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Listener(logging.Handler):
    def __init__(self, callback: Callable[[str], None]) -> None:
        super().__init__()
        self.callback = callback

    def emit(self, record: logging.LogRecord) -> None:
        word = "warning: " if record.levelno >= logging.WARNING else ""
        self.callback(f"{word}{record.getMessage()}")


@contextmanager
def hear(callback: Callable[[str], None]) -> Iterator[None]:
    """Each line goes to ``callback`` too, which may raise to stop the work that tells it."""
    listener, logger = _Listener(callback), logging.getLogger("tfskin")
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
