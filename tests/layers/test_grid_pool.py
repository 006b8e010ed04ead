"""Averaging to a grid, against the formula written as a loop."""

import keras
import numpy as np
import pytest

from tfskin.layers import GridPool


@pytest.mark.parametrize("shape", [(7, 7), (14, 14), (1, 2), (9, 5), (20, 13)])
def test_cells_are_means(shape):
    x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype("float32")
    result = keras.ops.convert_to_numpy(GridPool(7)(x))
    rows, columns = ([(i * n // 7, -(-(i + 1) * n // 7)) for i in range(7)] for n in shape)
    for r, (top, bottom) in enumerate(rows):
        for c, (left, right) in enumerate(columns):
            expected = x[:, top:bottom, left:right].mean(axis=(1, 2))
            np.testing.assert_allclose(result[:, r, c], expected, rtol=1e-4, atol=1e-6)


def test_a_map_of_the_grids_size_is_passed_on():
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    layer = GridPool.from_config(GridPool(6).get_config())
    np.testing.assert_array_equal(layer(x), x)
    assert layer.compute_output_shape((None, 9, 4, 3)) == (None, 6, 6, 3)
