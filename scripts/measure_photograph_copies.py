"""Changed copies of images: how many are linked with the image that they were made of.

Example: python scripts/measure_photograph_copies.py HAM10000/images --images 200 --others 800
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

from tfskin.datasets.images import read_image
from tfskin.datasets.photographs.probability import REPORTING, SPLITTING
from tfskin.datasets.photographs.search import find_photographs

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def crop(share: float) -> Change:
    """A change that leaves out so much of the width and the height, at a place by chance."""

    def cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = (round(side * (1 - share)) for side in image.size)
        left = int(rng.integers(image.width - width + 1))
        top = int(rng.integers(image.height - height + 1))
        return image.crop((left, top, left + width, top + height))

    return cropped


def turn(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image turned by any angle; what it leaves free is black."""
    return image.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC)


def mirror(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image mirrored about its vertical axis."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def balance(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image with each colour made up to a fifth stronger or weaker."""
    factors = rng.uniform(0.8, 1.2, 3)
    pixels = np.asarray(image) * factors
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


CHANGES: dict[str, Change] = {
    "JPEG 30": lambda image, rng: image,
    "halved": lambda image, rng: image.resize((image.width // 2, image.height // 2)),
    "cropped by 5 %": crop(0.05),
    "cropped by 10 %": crop(0.1),
    "cropped by 20 %": crop(0.2),
    "cropped by 30 %": crop(0.3),
    "turned": turn,
    "mirrored": mirror,
    "mirrored and turned": lambda image, rng: turn(mirror(image, rng), rng),
    "30 % darker": lambda image, rng: ImageEnhance.Brightness(image).enhance(0.7),
    "white balance": balance,
    "turned, cropped, darker": lambda image, rng: ImageEnhance.Brightness(
        crop(0.1)(turn(image, rng), rng)
    ).enhance(0.7),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="JPEG files, anywhere below")
    parser.add_argument("--images", type=int, default=200, help="that copies are made of")
    parser.add_argument("--others", type=int, default=800, help="that they are searched among")
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    files = sorted(str(path) for path in arguments.folder.rglob("*.jpg"))
    chosen = rng.permutation(files)[: arguments.images + arguments.others].tolist()
    originals = chosen[: arguments.images]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = list(chosen)
        for name, change in CHANGES.items():
            rows.append((name, len(paths)))
            for place, path in enumerate(originals):
                copy = Path(folder) / f"{len(rows)}-{place}.jpg"
                quality = 30 if name == "JPEG 30" else 95
                change(read_image(path), rng).save(copy, quality=quality)
                paths.append(str(copy))
        links = find_photographs(paths, workers=arguments.workers)
    probability = pd.Series(
        links["probability"].to_numpy(), index=pd.MultiIndex.from_frame(links[["first", "second"]])
    )
    print(f"{arguments.images} images of {len(chosen)}, linked with the copy of")
    for name, start in rows:
        pairs = [(place, start + place) for place in range(arguments.images)]
        values = probability.reindex(pd.MultiIndex.from_tuples(pairs)).fillna(0).to_numpy()
        print(
            f"{name:26}{(values >= SPLITTING).mean():8.1%} for splitting"
            f"{(values >= REPORTING).mean():8.1%} for reporting"
        )


if __name__ == "__main__":
    main()
