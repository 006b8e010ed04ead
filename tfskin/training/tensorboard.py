"""A run's figures for TensorBoard, where it is installed."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras


def make_epoch_logger(folder: Path | None, model: keras.Model) -> Callable[[dict[str, Any]], None]:
    """A function that writes a row of the history as events into ``folder``.

    Train and val figures of one name share a chart. Without the package ``tensorboard``
    (``pip install tfskin[tensorboard]``) or a folder it does nothing: ``history.csv`` has the same
    figures.
    """
    if folder is None or find_spec("tensorboard") is None:
        return lambda row: None
    board = keras.callbacks.TensorBoard(str(folder), write_graph=False)
    board.set_model(model)

    def log(row: dict[str, Any]) -> None:
        values = {name: value for name, value in row.items() if value is not None}
        board.on_epoch_end(values.pop("epoch"), values)

    return log
