"""What lies on dermoscopic images beside skin: hair, ruler marks, stickers, dark corners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[np.float32]

_STICKER_COLORS = ((40, 110, 190), (60, 150, 90), (225, 190, 60), (205, 75, 70), (120, 80, 160))
_OVERSAMPLING = 2


def add_hair(image: Array, rng: np.random.Generator) -> Array:
    """The image with 3 to 25 hairs, curved, of one colour."""
    height, width = image.shape[:2]
    size = (width * _OVERSAMPLING, height * _OVERSAMPLING)
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    direction = rng.uniform(0, np.pi)
    t = np.linspace(-1, 1, 16)
    for _ in range(int(rng.integers(3, 26))):
        angle = direction + rng.normal(0, 0.45)
        length = size[1] * rng.uniform(0.2, 0.7)
        along, across = length * t, length * rng.normal(0, 0.18) * t**2
        x = rng.uniform(0, size[0]) + along * np.cos(angle) - across * np.sin(angle)
        y = rng.uniform(0, size[1]) + along * np.sin(angle) + across * np.cos(angle)
        points = list(zip(x.tolist(), y.tolist(), strict=True))
        draw.line(points, fill=int(rng.integers(150, 255)), width=int(rng.integers(1, 4)))
    alpha = np.asarray(mask.reduce(_OVERSAMPLING), np.float32)[..., None] / 255
    dark = np.array((52, 38, 32), np.float32) * np.float32(rng.uniform(0.6, 1.7))
    return image + 0.9 * alpha * (dark - image)


def add_ruler(image: Array, rng: np.random.Generator) -> Array:
    """The image with a millimetre scale along one side."""
    height, width = image.shape[:2]
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    horizontal = bool(rng.random() < 0.6)
    far = bool(rng.random() < 0.7)
    step = height * rng.uniform(0.05, 0.09)
    depth = height * rng.uniform(0.03, 0.07)
    long_side, short_side = (width, height) if horizontal else (height, width)
    base = short_side - 1 - depth * 0.3 if far else depth * 0.3
    for tick, place in enumerate(np.arange(step / 2, long_side, step)):
        reach = depth * (1.8 if tick % 5 == 0 else 1.0)
        end = base - reach if far else base + reach
        line = [(place, base), (place, end)] if horizontal else [(base, place), (end, place)]
        draw.line(line, fill=230, width=max(1, round(height / 150)))
    alpha = np.asarray(mask, np.float32)[..., None] / 255
    ink = np.array((45, 42, 50), np.float32)
    return image + 0.85 * alpha * (ink - image)


def add_sticker(image: Array, rng: np.random.Generator) -> Array:
    """The image with a round coloured sticker that reaches in from a border."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = height * rng.uniform(0.2, 0.42)
    side, place = int(rng.integers(4)), rng.uniform(0, 1)
    out = radius * rng.uniform(0.1, 0.6)
    cx = (-out, width + out, place * width, place * width)[side]
    cy = (place * height, place * height, -out, height + out)[side]
    distance = np.hypot(
        (x - np.float32(cx)) / np.float32(rng.uniform(0.8, 1.2)), y - np.float32(cy)
    )
    alpha = np.clip(radius - distance + 0.5, 0, 1)[..., None]
    shadow = np.clip(1 - np.abs(distance - radius) / 4, 0, 1)[..., None] * 0.15
    color = np.array(_STICKER_COLORS[int(rng.integers(len(_STICKER_COLORS)))], np.float32)
    return image * (1 - shadow) + 0.95 * alpha * (color - image)


def add_dark_corners(image: Array, rng: np.random.Generator) -> Array:
    """The image as seen through the round opening of a dermatoscope."""
    height, width = image.shape[:2]
    y, x = np.ogrid[0:height, 0:width]
    cx, cy = (width * rng.uniform(0.46, 0.54), height * rng.uniform(0.46, 0.54))
    radius = np.hypot(width, height) / 2 * rng.uniform(0.82, 0.95)
    softness = height * rng.uniform(0.01, 0.06)
    distance = np.hypot(x - cx, y - cy).astype(np.float32)
    inside = np.clip((np.float32(radius) - distance) / np.float32(softness) + 0.5, 0, 1)
    return image * (0.04 + 0.96 * inside[..., None])


def develop(image: Array, rng: np.random.Generator, *, blur: float, noise: float) -> Image.Image:
    """The image as a camera gives it: blurred, noisy, 8 bits a channel."""
    grain = np.float32(noise) * rng.standard_normal(image.shape[:2], dtype=np.float32)
    pixels = np.clip(image + grain[..., None], 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(blur))
