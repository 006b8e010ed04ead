"""Tiny images and tables in the layouts that data sets are published in."""

import csv
from collections.abc import Sequence
from pathlib import Path

from PIL import Image


def write_images(folder: Path, names: Sequence[str]) -> None:
    """Write a 12 x 9 image for each name, which may hold sub-folders."""
    for number, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 9), (20 * number % 256, 90, 60)).save(file)


def write_rows(
    file: Path, rows: Sequence[dict[str, str]], *, delimiter: str = ",", bom: bool = False
) -> Path:
    """Write rows under a header of the first row's keys."""
    file.parent.mkdir(parents=True, exist_ok=True)
    encoding = "utf-8-sig" if bom else "utf-8"
    with file.open("w", encoding=encoding, newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return file
