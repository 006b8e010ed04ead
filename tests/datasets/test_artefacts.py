import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from tfskin.datasets import artefacts
from tfskin.datasets.artefacts import DETECTORS, find_artefacts
from tfskin.datasets.images import read_image

SCRIPT = Path(__file__).parents[2] / "scripts" / "measure_artefacts.py"
PASTE = runpy.run_path(str(SCRIPT))["PASTE"]


def make_skin(seed: int, *, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Pink skin with a brown lesion in the middle."""
    rng = np.random.default_rng(seed)
    base = np.array([215, 160, 140]) + rng.normal(0, 8, 3)
    skin = base + rng.normal(0, 3, (size[1], size[0], 3))
    image = Image.fromarray(np.clip(skin, 0, 255).astype(np.uint8))
    x, y = size[0] / 2, size[1] / 2
    box = [x - 60, y - 45, x + 60, y + 45]
    ImageDraw.Draw(image).ellipse(box, fill=(120, 75, 55))
    return image


def test_plain_skin_has_no_artefact():
    for seed in range(3):
        assert find_artefacts(make_skin(seed)) == dict.fromkeys(DETECTORS, False)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("size", [(200, 150), (320, 240), (800, 600)])
def test_a_pasted_artefact_is_found_at_any_size_and_no_other_with_it(name, size):
    rng = np.random.default_rng(1)
    found = [find_artefacts(PASTE[name](make_skin(seed, size=size), rng)) for seed in range(4)]
    assert all(flags[name] for flags in found)
    others = [flag for flags in found for other, flag in flags.items() if other != name]
    assert not any(others)


def test_a_bluish_image_has_no_sticker():
    tinted = np.asarray(make_skin(0), float) * (0.55, 0.9, 1.4)
    image = Image.fromarray(np.clip(tinted, 0, 255).astype(np.uint8))
    assert not find_artefacts(image)["sticker"]


def test_tiny_and_black_images_are_no_error():
    for size in ((1, 1), (3, 200), (40, 30)):
        assert set(find_artefacts(Image.new("RGB", size))) == set(DETECTORS)


def test_the_real_images_are_flagged_as_they_were_judged(real_isic_archive):
    expected = {
        "ISIC_0000004": {"dark_corners"},
        "ISIC_0000043": {"hair"},
        "ISIC_0000016": set(),
        "ISIC_0000293": {"dark_corners"},
    }
    for name, flags in expected.items():
        image = read_image(real_isic_archive / f"{name}.jpg", at_least=512)
        assert {flag for flag, hit in find_artefacts(image).items() if hit} == flags


@pytest.mark.parametrize("size", [3, 7, 11, 23])
def test_sliding_extremes_are_scipys(size):
    plane = np.random.default_rng(size).integers(0, 256, (31, 40), dtype=np.uint8)
    slid = artefacts._slide(plane, size, np.maximum)
    np.testing.assert_array_equal(slid, ndimage.maximum_filter(plane, size=size))
    slid = artefacts._slide(plane > 200, size, np.logical_and)
    np.testing.assert_array_equal(slid, ndimage.minimum_filter(plane > 200, size=size))


@given(values=st.lists(st.integers(0, 255), min_size=1, max_size=40), share=st.floats(0, 1))
def test_quantiles_by_counting_are_numpys(values, share):
    found = artefacts._quantile(np.array(values, np.uint8), share)
    assert found == pytest.approx(np.quantile(values, share), abs=1e-6)
