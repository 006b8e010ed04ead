"""A feature map averaged to a grid of a fixed size."""

from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="tfskin")
class GridPool(keras.layers.Layer):
    """A map (N, H, W, C) averaged to (N, grid, grid, C), whatever its size.

    Cell ``i`` of a row is the mean of the positions from ``floor(i H / grid)`` up to
    ``ceil((i + 1) H / grid)``, as in PyTorch's ``AdaptiveAvgPool2d``; a smaller map is repeated,
    and one of the grid's size is passed on unchanged. Keras's ``AdaptiveAveragePooling2D`` fails
    on maps smaller than the grid.

    Args:
        grid: rows and columns of the result.
        **kwargs: arguments of ``keras.layers.Layer``.
    """

    def __init__(self, grid: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = grid

    def call(self, inputs: Any) -> Any:
        """``inputs`` averaged."""
        height, width = inputs.shape[1:3]
        if height != self.grid:
            inputs = ops.einsum("gh,nhwc->ngwc", self._means(height, inputs.dtype), inputs)
        if width != self.grid:
            inputs = ops.einsum("gw,nhwc->nhgc", self._means(width, inputs.dtype), inputs)
        return inputs

    def _means(self, side: int, dtype: Any) -> Any:
        """(grid, side): each row the weights of a mean."""
        weights = np.zeros((self.grid, side), "float32")
        for cell in range(self.grid):
            begin, end = cell * side // self.grid, -(-(cell + 1) * side // self.grid)
            weights[cell, begin:end] = 1 / (end - begin)
        return ops.cast(weights, dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(N, grid, grid, C)."""
        return (input_shape[0], self.grid, self.grid, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "grid": self.grid}
