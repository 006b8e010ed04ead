"""TensorFlow's import without its chatter on the user's terminal."""

import importlib
import logging
import os
import sys
import tempfile
import warnings


def import_tensorflow_quietly() -> None:
    """Import TensorFlow with standard error closed to its start-up messages.

    They come from C++ before any logging level applies, so file descriptor 2 is turned away for
    the time of the import. If the import fails, what was held back is printed.
    """
    if "tensorflow" in sys.modules or os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module("tensorflow")
                importlib.import_module("keras")
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
