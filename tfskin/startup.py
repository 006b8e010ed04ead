"""TensorFlow and Keras imported: without chatter, and without what the user set for other work."""

import importlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tfskin.errors import UserError, shorten

# By which Keras cuts every fit short: made for trying scripts out.
_LIMITS = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")


@cache
def import_tensorflow_quietly() -> None:
    """Import TensorFlow and Keras, with standard error closed to their start-up messages.

    They come from C++ before any logging level applies, so file descriptor 2 is turned away for
    the time of the import. If the import fails, what was held back is printed.

    Keras starts with TensorFlow, unless ``KERAS_BACKEND`` says otherwise, and with the settings
    that all networks here are written for, whatever ``~/.keras/keras.json`` says: channels last,
    float32, an epsilon of 1e-7, no limit of epochs and steps.

    Raises:
        UserError: a ``keras.json`` that Keras stumbles over, or a backend that it can't load.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    for name in _LIMITS:
        os.environ.pop(name, None)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with _hold_back_standard_error(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if backend == "tensorflow":
                importlib.import_module("tensorflow")  # whose own old Keras reads the file too
            keras = importlib.import_module("keras")
        except Exception as error:
            raise (_explain(error, backend) or error) from None
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


def _explain(error: Exception, backend: str) -> UserError | None:
    """What to mend, where the user's settings are the likely reason."""
    reason = shorten(f"{type(error).__name__} {error}", 200)
    if backend != "tensorflow":
        return UserError(f"KERAS_BACKEND={backend}: Keras can't start with it ({reason}); unset it")
    file = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    if file.is_file() and not isinstance(error, ImportError):
        return UserError(f"{file}: Keras can't start with it ({reason}); mend or delete it")
    return None


@contextmanager
def _hold_back_standard_error() -> Iterator[None]:
    """Print what is written to file descriptor 2 meanwhile only if something is raised."""
    if "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except UserError:
            raise
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
