"""Recall of the artefact detectors on artefacts pasted into real images, and what they flag.

Example: python scripts/measure_artefacts.py FOLDER --images 300 --sheets sheets/
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tfskin.datasets.artefacts import DETECTORS, find_artefacts
from tfskin.datasets.images import read_image

# Stickers as they are sold for dermoscopy; red and orange are not looked for.
STICKERS = {
    "blue": (40, 90, 190),
    "light blue": (90, 160, 220),
    "green": (40, 140, 70),
    "yellow": (235, 205, 60),
    "turquoise": (30, 150, 160),
}
Paste = Callable[[Image.Image, np.random.Generator], Image.Image]


def paste_sticker(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A round sticker that reaches in from a border, with the image's own light on it."""
    width, height = image.size
    radius = rng.uniform(0.15, 0.35) * min(width, height)
    along = rng.uniform(0.1, 0.9)
    depth = rng.uniform(-0.3, 0.5) * radius
    x, y = [
        (along * width, depth),
        (along * width, height - depth),
        (depth, along * height),
        (width - depth, along * height),
    ][rng.integers(4)]
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(0.004 * width))
    color = np.array(list(STICKERS.values())[rng.integers(len(STICKERS))], float)
    light = np.asarray(image.convert("L").filter(ImageFilter.GaussianBlur(0.1 * width)), float)
    shade = 0.75 + 0.25 * light / max(float(np.percentile(light, 90)), 1)
    pixels = color * shade[..., None] + rng.normal(0, 6, (height, width, 3))
    sticker = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return Image.composite(sticker, image, mask)


def paste_hair(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Four to fourteen dark, curved hairs across the image."""
    width, height = image.size
    scale = 4
    mask = Image.new("L", (width * scale, height * scale))
    draw = ImageDraw.Draw(mask)
    step = np.linspace(0, 1, 40)[:, None]
    for _ in range(rng.integers(4, 15)):
        ends = rng.uniform(0, 1, (2, 2)) * (width, height)
        bend = ends.mean(axis=0) + rng.normal(0, 0.15, 2) * (width, height)
        curve = (1 - step) ** 2 * ends[0] + 2 * step * (1 - step) * bend + step**2 * ends[1]
        thick = scale * width * rng.uniform(0.004, 0.009)
        draw.line([tuple(p) for p in curve * scale], fill=255, width=round(thick), joint="curve")
    mask = mask.resize(image.size, Image.Resampling.LANCZOS)
    mask = mask.point(lambda value: int(value * 0.8))
    dark = tuple(int(c) for c in rng.uniform((25, 15, 10), (70, 50, 40)))
    return Image.composite(Image.new("RGB", image.size, dark), image, mask)


def paste_dark_corners(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The round field of view of a dermatoscope, with a soft rim."""
    width, height = image.size
    radius = rng.uniform(0.72, 0.92) * np.hypot(width, height) / 2
    rim = rng.uniform(0.01, 0.1) * radius
    y, x = np.mgrid[:height, :width]
    away = np.hypot(x - width / 2, y - height / 2)
    light = np.clip((radius + rim - away) / (2 * rim), 0.03, 1)
    return Image.fromarray((np.asarray(image) * light[..., None]).astype(np.uint8))


PASTE: dict[str, Paste] = {
    "dark_corners": paste_dark_corners,
    "hair": paste_hair,
    "sticker": paste_sticker,
}


def write_sheet(images: list[Image.Image], path: Path, *, columns: int = 12) -> None:
    width, height = 150, 113
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for place, image in enumerate(images):
        small = image.resize((width - 2, height - 2))
        sheet.paste(small, (place % columns * width, place // columns * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheets", type=Path, help="write contact sheets of what was flagged")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    paths = sorted(arguments.folder.rglob("*.jpg"))
    paths = [paths[i] for i in rng.permutation(len(paths))[: arguments.images]]
    images = [read_image(path, at_least=512) for path in paths]
    start = time.perf_counter()
    flags = [find_artefacts(image) for image in images]
    each = (time.perf_counter() - start) / len(images)
    print(f"{len(images)} images, {1000 * each:.1f} ms an image for all detectors")
    for name in DETECTORS:
        clean = [image for image, flag in zip(images, flags, strict=True) if not flag[name]]
        pasted = [PASTE[name](image, rng) for image in clean]
        found = [find_artefacts(image)[name] for image in pasted]
        print(
            f"{name}: flagged {len(images) - len(clean)} of {len(images)} as they are; "
            f"found {sum(found)} of {len(pasted)} pasted ({sum(found) / len(pasted):.3f})"
        )
        if arguments.sheets:
            folder = arguments.sheets
            seen = [image for image, flag in zip(images, flags, strict=True) if flag[name]]
            missed = [image for image, hit in zip(pasted, found, strict=True) if not hit]
            for kind, group in (("flagged", seen), ("missed", missed), ("pasted", pasted[:60])):
                if group:
                    write_sheet(group[:144], folder / f"{name}_{kind}.png")


if __name__ == "__main__":
    main()
