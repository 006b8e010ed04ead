"""Synthetic skin: images with detail at every size, and what a second photograph makes of them."""

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter


def make_skin(seed: int, size: tuple[int, int] = (400, 300), *, contrast: float = 1) -> Image.Image:
    """RGB skin with spots and a net of lines, none of which another seed has."""
    generator = np.random.default_rng(seed)
    width, height = size
    total = np.full((height, width), 170.0)
    for cells in (6, 12, 24, 48, 96):
        noise = Image.fromarray(generator.normal(0, contrast * 70 / cells**0.4, (cells, cells)))
        total += np.asarray(noise.resize(size, Image.Resampling.BICUBIC))
    grey = Image.fromarray(np.clip(total, 70, 255).astype(np.uint8))
    return Image.merge("RGB", [grey, grey.point(lambda v: v * 0.8), grey.point(lambda v: v * 0.7)])


def make_smooth_skin(seed: int, size: tuple[int, int] = (400, 300)) -> Image.Image:
    """RGB skin with large soft spots only, so that what is laid over it is the sharpest."""
    generator = np.random.default_rng(seed)
    noise = Image.fromarray(generator.normal(170, 25, (5, 5)))
    grey = noise.resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray(np.clip(np.asarray(grey), 90, 255).astype(np.uint8)).convert("RGB")


def photograph_again(
    image: Image.Image, *, turn: float = 0, zoom: float = 1, mirror: bool = False, dark: float = 1
) -> tuple[Image.Image, np.ndarray]:
    """Another photograph of the image's middle, and the (2, 3) transform of places into it.

    Mirrored about the vertical axis, then turned clockwise by ``turn`` degrees and magnified about
    the middle.
    """
    width, height = image.size
    sine, cosine = np.sin(np.radians(turn)), np.cos(np.radians(turn))
    linear = zoom * np.array([[cosine, -sine], [sine, cosine]])
    middle = np.array([width / 2, height / 2])
    forward = np.column_stack([linear, middle - linear @ middle])
    inverse = np.linalg.inv(linear)
    backward = np.column_stack([inverse, middle - inverse @ middle])
    if mirror:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if zoom < 1:  # as a lens would: nothing finer than a pixel is left
        image = image.filter(ImageFilter.GaussianBlur(0.4 / zoom))
    edge = tuple(np.asarray(image).mean(axis=(0, 1)).astype(int).tolist())
    again = image.transform(
        image.size,
        Image.Transform.AFFINE,
        backward.ravel().tolist(),
        Image.Resampling.BICUBIC,
        fillcolor=edge,
    )
    return ImageEnhance.Brightness(again).enhance(dark), forward


def lay_vignette(image: Image.Image) -> Image.Image:
    """The image in a round dark frame."""
    frame = Image.new("L", image.size, 255)
    width, height = image.size
    radius = 0.49 * height
    box = (width / 2 - radius, height / 2 - radius, width / 2 + radius, height / 2 + radius)
    ImageDraw.Draw(frame).ellipse(box, fill=0)
    return Image.composite(Image.new("RGB", image.size, (12, 10, 11)), image, frame)


def lay_ruler(image: Image.Image, *, top: int) -> Image.Image:
    """The image with a ruler printed on it, from ``top``: ticks, and digits of few strokes."""
    ruled = image.copy()
    draw = ImageDraw.Draw(ruled)
    for place in range(38):
        x = 10 + place * 10
        draw.line((x, top, x, top + (22 if place % 5 == 0 else 11)), fill=(20, 20, 20), width=2)
        if place % 5 == 0:
            draw.text((x - 3, top + 24), "MM" if place % 10 else "10", fill=(20, 20, 20))
    return ruled
