"""Changed images for reliance checks: lesion hidden, artefacts pasted, turned, corrupted.

Images are (H, W, 3) float32 in 0..255 at the network's size. Every random choice depends on
(seed, index of the image) alone. Artefacts are drawn as on the phantoms.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from tfskin.datasets.sources.phantom_artefacts import (
    add_dark_corners,
    add_hair,
    add_ruler,
    add_sticker,
)

Pixels = npt.NDArray[np.float32]
Change = Callable[[Pixels, int], Pixels]

CENTRE = 0.35
"""Half-axes of the ellipse that stands for the lesion, as a share of the sides."""

JPEG_QUALITIES = (80, 50, 30, 15, 8)
BLURS = (0.005, 0.01, 0.02, 0.04)
BRIGHTNESSES = (0.5, 0.7, 0.85, 1.15, 1.3, 1.5)
NOISES = (5.0, 10.0, 20.0, 40.0)


def hide_lesion(image: Pixels, _: int = 0) -> Pixels:
    """The image with its centre filled with the colour of its skin.

    An ellipse of half-axes 0.35 of the sides: dermoscopic images are taken with the lesion in
    the middle. A lesion that reaches further out is not wholly hidden.
    """
    return np.where(_centre(image), _skin(image), image).astype(np.float32)


def keep_lesion(image: Pixels, _: int = 0) -> Pixels:
    """The image with all but its centre filled with the colour of its skin."""
    return np.where(_centre(image), image, _skin(image)).astype(np.float32)


def pasted(seed: int = 0) -> dict[str, Change]:
    """Artefact -> the change that pastes it."""
    drawings = {
        "sticker": add_sticker,
        "ruler": add_ruler,
        "hair": add_hair,
        "dark corners": add_dark_corners,
    }

    def change(number: int, draw: Callable[[Pixels, np.random.Generator], Pixels]) -> Change:
        def apply(image: Pixels, index: int) -> Pixels:
            drawn = draw(image, np.random.default_rng([seed, number, index]))
            return np.clip(drawn, 0, 255).astype(np.float32)

        return apply

    return {name: change(number, draw) for number, (name, draw) in enumerate(drawings.items())}


TURNS: dict[str, Change] = {
    "mirrored left and right": lambda image, _: image[:, ::-1],
    "mirrored top and bottom": lambda image, _: image[::-1],
    "turned by 90°": lambda image, _: _turned(image, 1),
    "turned by 180°": lambda image, _: _turned(image, 2),
    "turned by 270°": lambda image, _: _turned(image, 3),
}


def corruptions(seed: int = 0) -> dict[str, dict[float, Change]]:
    """Kind -> level -> the change; levels run from the mildest to the strongest.

    JPEG quality; blur: standard deviation of a Gaussian as a share of the shorter side;
    brightness: factor of all values; noise: standard deviation in grey levels of 255.
    """

    def jpeg(quality: float) -> Change:
        def apply(image: Pixels, _: int) -> Pixels:
            stream = io.BytesIO()
            _as_image(image).save(stream, "JPEG", quality=int(quality))
            return np.asarray(Image.open(stream).convert("RGB"), np.float32)

        return apply

    def blur(share: float) -> Change:
        def apply(image: Pixels, _: int) -> Pixels:
            radius = share * min(image.shape[:2])
            return np.asarray(_as_image(image).filter(ImageFilter.GaussianBlur(radius)), "f4")

        return apply

    def brightness(factor: float) -> Change:
        return lambda image, _: np.clip(image * np.float32(factor), 0, 255)

    def noise(deviation: float) -> Change:
        def apply(image: Pixels, index: int) -> Pixels:
            random = np.random.default_rng([seed, int(deviation), index])
            grain = random.standard_normal(image.shape, dtype=np.float32)
            return np.clip(image + np.float32(deviation) * grain, 0, 255)

        return apply

    return {
        "JPEG quality": {level: jpeg(level) for level in JPEG_QUALITIES},
        "blur": {level: blur(level) for level in BLURS},
        "brightness": {level: brightness(level) for level in BRIGHTNESSES},
        "noise": {level: noise(level) for level in NOISES},
    }


def change_all(images: Pixels, change: Change) -> Pixels:
    """(N, H, W, 3) images, each changed."""
    return np.stack([change(image, index) for index, image in enumerate(images)])


def _centre(image: Pixels) -> npt.NDArray[np.bool_]:
    height, width = image.shape[:2]
    y, x = np.ogrid[0:height, 0:width]
    across = (x + 0.5 - width / 2) / (CENTRE * width)
    down = (y + 0.5 - height / 2) / (CENTRE * height)
    return np.asarray(across**2 + down**2 <= 1)[..., None]


def _skin(image: Pixels) -> Pixels:
    """The median colour of the ring between the centre and the corners, which may be dark."""
    height, width = image.shape[:2]
    y, x = np.ogrid[0:height, 0:width]
    across = (x + 0.5 - width / 2) / (width / 2)
    down = (y + 0.5 - height / 2) / (height / 2)
    distance = across**2 + down**2
    ring = (distance > (2 * CENTRE) ** 2) & (distance <= 1)
    return np.asarray(np.median(image[ring], axis=0), np.float32)


def _turned(image: Pixels, quarters: int) -> Pixels:
    """Turned; an image that is not square is brought back to its shape."""
    turned = np.rot90(image, quarters)
    if turned.shape == image.shape:
        return turned
    size = (image.shape[1], image.shape[0])
    return np.asarray(_as_image(turned).resize(size, Image.Resampling.BILINEAR), np.float32)


def _as_image(image: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(image + 0.5, 0, 255).astype(np.uint8))
