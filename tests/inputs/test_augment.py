import math
from typing import Any, Literal

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates

from tests.inputs.fake_shards import smooth_image
from tfskin.inputs.augment import NUMBERS, draw_numbers, make_augment
from tfskin.schema import AugmentConfig

OFF = {"horizontal_flip": False, "vertical_flip": False, "quarter_turns": False}
SQUARE, WIDE = (40, 40), (32, 48)


def augment(config: AugmentConfig, image: np.ndarray, index: int, *, seed=3, epoch=2) -> np.ndarray:
    size = (image.shape[0], image.shape[1])
    change = make_augment(config, image_size=size, seed=seed, epoch=epoch)
    return change(tf.constant(image), tf.constant(index, tf.int64)).numpy()


def numbers_of(index: int, *, seed=3, epoch=2) -> dict[str, float]:
    drawn = draw_numbers(seed, epoch, tf.constant(index, tf.int64)).numpy().astype(float)
    return dict(zip(NUMBERS, drawn.tolist(), strict=True))


def expected_geometry(config: AugmentConfig, image: np.ndarray, index: int) -> np.ndarray:
    """The forward map written as 3 x 3 matrices in NumPy, inverted, and sampled by SciPy."""
    u = numbers_of(index)
    height, width = image.shape[:2]
    forward = np.eye(3)

    def then(rows: list[list[float]]) -> None:
        nonlocal forward
        forward = np.array(rows) @ forward

    if config.horizontal_flip and u["horizontal_flip"] < 0.5:
        then([[-1, 0, 0], [0, 1, 0], [0, 0, 1]])
    if config.vertical_flip and u["vertical_flip"] < 0.5:
        then([[1, 0, 0], [0, -1, 0], [0, 0, 1]])
    if config.quarter_turns:
        for _ in range(int(u["quarter_turns"] * 4)):  # counterclockwise, then stretched
            then([[0, width / height, 0], [-height / width, 0, 0], [0, 0, 1]])
    slant = math.tan(math.radians(config.shear * (2 * u["shear"] - 1)))
    then([[1, slant, 0], [0, 1, 0], [0, 0, 1]])
    zoom = (1 + config.zoom) ** (2 * u["zoom"] - 1)
    then([[zoom, 0, 0], [0, zoom, 0], [0, 0, 1]])
    angle = math.radians(config.rotation * (2 * u["rotation"] - 1))
    cosine, sine = math.cos(angle), math.sin(angle)
    then([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])  # y points down
    right = config.shift * width * (2 * u["shift_x"] - 1)
    down = config.shift * height * (2 * u["shift_y"] - 1)
    then([[1, 0, right], [0, 1, down], [0, 0, 1]])

    rows, columns = np.mgrid[:height, :width].astype(float)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    grid = np.stack([columns - centre_x, rows - centre_y, np.ones_like(rows)], axis=-1)
    x, y = np.moveaxis(grid @ np.linalg.inv(forward).T, -1, 0)[:2]
    places = np.stack([y + centre_y, x + centre_x])
    mode: Literal["reflect", "grid-constant"]
    mode = "reflect" if config.fill == "reflect" else "grid-constant"
    channels = [
        map_coordinates(image[..., c].astype(float), places, order=1, mode=mode) for c in range(3)
    ]
    return np.stack(channels, axis=-1)


GEOMETRY: dict[str, dict[str, Any]] = {
    "rotation": {"rotation": 180},
    "zoom": {"zoom": 0.5},
    "shift": {"shift": 0.4},
    "shear": {"shear": 40},
    "flips and turns": {"horizontal_flip": True, "vertical_flip": True, "quarter_turns": True},
    "all": {
        "horizontal_flip": True,
        "vertical_flip": True,
        "quarter_turns": True,
        "rotation": 90,
        "zoom": 0.3,
        "shift": 0.8,
        "shear": 20,
    },
}


@pytest.mark.parametrize("size", [SQUARE, WIDE])
@pytest.mark.parametrize(
    ("name", "fill"), [*((name, "reflect") for name in GEOMETRY), ("all", "black")]
)
def test_geometry_is_the_formula_sampled_by_scipy(name, fill, size):
    config = AugmentConfig(**{**OFF, **GEOMETRY[name], "fill": fill})
    image = smooth_image(5, *size)
    for index in range(6):
        expected = expected_geometry(config, image, index)
        # Positions are float32: 1e-5 pixels times up to 100 grey levels a pixel.
        np.testing.assert_allclose(augment(config, image, index), expected, atol=0.05)


def test_flips_and_turns_of_squares_move_pixels_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (17, 17, 3), dtype=np.uint8)
    seen = set()
    for index in range(40):
        u = numbers_of(index)
        expected = image[:, ::-1] if u["horizontal_flip"] < 0.5 else image
        expected = expected[::-1] if u["vertical_flip"] < 0.5 else expected
        expected = np.rot90(expected, int(u["quarter_turns"] * 4))
        np.testing.assert_array_equal(augment(AugmentConfig(), image, index), expected)
        seen.add(expected.tobytes())
    assert len(seen) == 8


def test_half_turns_of_oblongs_move_pixels_unchanged():
    config = AugmentConfig(**{**OFF, "quarter_turns": True})
    image = np.random.default_rng(0).integers(0, 256, (*WIDE, 3), dtype=np.uint8)
    for index in range(12):
        turns = int(numbers_of(index)["quarter_turns"] * 4)
        if turns in (0, 2):
            result = augment(config, image, index)
            np.testing.assert_allclose(result, np.rot90(image, turns), atol=1e-3)


@pytest.mark.parametrize("size", [SQUARE, WIDE])
def test_nothing_on_changes_nothing(size):
    image = np.random.default_rng(0).uniform(0, 255, (*size, 3)).astype("float32")
    np.testing.assert_array_equal(augment(AugmentConfig(**OFF), image, 0), image)


def expected_colors(config: AugmentConfig, image: np.ndarray, index: int) -> np.ndarray:
    u = {name: 2 * value - 1 for name, value in numbers_of(index).items()}
    result = image.astype(float)
    mean = result.mean(axis=(0, 1))
    result = (result - mean) * (1 + config.contrast * u["contrast"]) + mean
    result = result + 255 * config.brightness * u["brightness"]
    to_yiq = np.array(
        [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
    )
    y, i, q = np.moveaxis(result @ to_yiq.T, -1, 0)
    color = (i + 1j * q) * (1 + config.saturation * u["saturation"])
    color = color * np.exp(2j * np.pi * config.hue * u["hue"])
    result = np.stack([y, color.real, color.imag], axis=-1) @ np.linalg.inv(to_yiq).T
    return np.clip(result, 0, 255)


@pytest.mark.parametrize(
    "strengths",
    [
        {"brightness": 0.4},
        {"contrast": 0.5},
        {"saturation": 0.9},
        {"hue": 0.5},
        {"brightness": 0.2, "contrast": 0.3, "saturation": 0.5, "hue": 0.1},
    ],
)
def test_colors_follow_the_formula(strengths):
    config = AugmentConfig(**OFF, **strengths)
    image = smooth_image(6, *WIDE)
    for index in range(4):
        expected = expected_colors(config, image, index)
        np.testing.assert_allclose(augment(config, image, index), expected, atol=0.01)


def test_hue_and_saturation_leave_grey_alone():
    grey = np.repeat(smooth_image(7, *SQUARE)[..., :1], 3, axis=-1)
    config = AugmentConfig(**OFF, hue=0.5, saturation=0.9)
    np.testing.assert_allclose(augment(config, grey, 1), grey, atol=0.1)


def test_erasing_fills_a_rectangle_of_the_asked_size_with_the_mean():
    config = AugmentConfig(**OFF, erasing=0.5, erasing_area=(0.1, 0.3))
    image = np.random.default_rng(0).integers(0, 256, (*SQUARE, 3), dtype=np.uint8)
    mean = image.mean(axis=(0, 1))
    erased = 0
    for index in range(40):
        result = augment(config, image, index)
        changed = (result != image).any(axis=-1)
        assert changed.any() == (numbers_of(index)["erasing"] < 0.5)
        if changed.any():
            erased += 1
            rows, columns = np.nonzero(changed.any(axis=1))[0], np.nonzero(changed.any(axis=0))[0]
            box = result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            np.testing.assert_allclose(box, np.broadcast_to(mean, box.shape), atol=0.01)
            # A side is rounded to whole pixels.
            assert 0.07 <= box.shape[0] * box.shape[1] / image[..., 0].size <= 0.36
    assert 10 <= erased <= 30


def test_all_changes_stay_in_range_and_keep_the_shape():
    strong = {"rotation": 180, "zoom": 0.9, "shift": 1, "shear": 59, "crop": (0.01, 1)}
    config = AugmentConfig(**strong, erasing=1, brightness=1, contrast=0.9, saturation=0.9, hue=0.5)
    image = smooth_image(8, *WIDE)
    for index in range(10):
        result = augment(config, image, index)
        assert result.shape == image.shape
        assert result.dtype == np.float32
        assert np.isfinite(result).all()
        assert result.min() >= 0
        assert result.max() <= 255


def test_random_numbers_depend_on_seed_epoch_and_index_alone():
    config = AugmentConfig(rotation=180, hue=0.1)
    image = smooth_image(9, *SQUARE)
    first = augment(config, image, 5)
    tf.random.set_seed(99)
    np.testing.assert_array_equal(augment(config, image, 5), first)
    for other in ({"seed": 4}, {"epoch": 3}, {"index": 6}):
        arguments = {"index": 5, "seed": 3, "epoch": 2} | other
        assert not np.array_equal(augment(config, image, **arguments), first)


def test_switching_a_change_on_leaves_the_others_as_they_were():
    image = smooth_image(10, *SQUARE)
    plain = augment(AugmentConfig(), image, 5)
    saturated = augment(AugmentConfig(brightness=1e-6), image, 5)
    np.testing.assert_allclose(plain, saturated, atol=1e-3)


def test_random_numbers_are_uniform():
    indices = tf.data.Dataset.range(2000)
    drawn = np.stack(list(indices.map(lambda i: draw_numbers(1, 0, i)).as_numpy_iterator()))
    np.testing.assert_allclose(np.mean(drawn, axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(np.std(drawn, axis=0), 12**-0.5, atol=0.02)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(len(NUMBERS))).max() < 0.1
