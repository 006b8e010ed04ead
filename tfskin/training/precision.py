"""Which dtype policy a network trains under, and why."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from tfskin.schema import Precision


def choose_precision(precision: Precision) -> tuple[str, str]:
    """The Keras dtype policy for ``precision`` on this machine, and the reason in words.

    ``auto`` is mixed_float16 where there is a GPU and float32 otherwise: on a CPU a ResNet-50
    step takes about four times as long in float16 as in float32.
    """
    if precision != "auto":
        return precision, "as asked"
    if has_gpu():
        return "mixed_float16", "auto: there is a GPU"
    return "float32", "auto: no GPU, and float16 is slow on CPUs"


def has_gpu() -> bool:
    """Whether the Keras backend sees a GPU."""
    try:
        return bool(keras.distribution.list_devices("gpu"))
    except (RuntimeError, ValueError):  # JAX raises where it has no such platform
        return False


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Build and compile under a dtype policy; the former one comes back afterwards."""
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)
