"""What tests of layers and networks share."""

from collections.abc import Callable, Iterator

import keras
import pytest


@pytest.fixture
def precision() -> Iterator[Callable[[str], None]]:
    """A function that sets Keras's precision policy until the test ends."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)
