"""Features of many images on disk, so that a stopped search goes on and memory stays bounded."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfskin.datasets.containers import split_container_path
from tfskin.datasets.images import map_images
from tfskin.datasets.photographs.features import (
    AREA,
    DESCRIPTOR_SIZE,
    MAX_FEATURES,
    THUMBNAIL_PIXELS,
    Features,
    read_features,
)
from tfskin.errors import UserError
from tfskin.files import replace_file

PART_IMAGES = 256
_FORMAT = f"1 {AREA} {MAX_FEATURES} {THUMBNAIL_PIXELS}"
"""Goes into the names of the files: raise the number when features of an image change."""
_ROW = np.dtype(
    [
        ("descriptors", "u1", (MAX_FEATURES, DESCRIPTOR_SIZE)),
        ("places", "<f4", (MAX_FEATURES, 2)),
        ("scales", "<f4", (MAX_FEATURES,)),
        ("angles", "<f4", (MAX_FEATURES,)),
        ("thumbnail", "u1", (THUMBNAIL_PIXELS,)),
        ("sides", "<i4", (2,)),
        ("count", "<i4"),
        ("checksum", "<u4"),
    ]
)


class FeatureStore(Sequence[Features]):
    """Features of images by their place, read from files as they are asked for."""

    def __init__(self, files: Sequence[Path], count: int) -> None:
        # Mapped files: the system keeps in memory what there is room for.
        self._parts = [np.load(file, mmap_mode="r") for file in files]
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> Features:  # type: ignore[override]  # no slices
        if not 0 <= place < self._count:
            raise IndexError(place)
        row = self._parts[place // PART_IMAGES][place % PART_IMAGES]
        count, sides = int(row["count"]), row["sides"]
        thumbnail = row["thumbnail"][: sides[0] * sides[1]].reshape(sides[0], sides[1])
        return Features(
            np.array(row["descriptors"][:count]),
            np.array(row["places"][:count]),
            np.array(row["scales"][:count]),
            np.array(row["angles"][:count]),
            np.array(thumbnail),
        )


def store_features(
    paths: Sequence[str], folder: Path | str, *, workers: int | None = None
) -> FeatureStore:
    """The features of image files, kept in a folder: what is there already isn't made again.

    A file of the folder holds 256 images in the order of ``paths`` (17 MB) and is named by what
    it was made of: the paths, the sizes and the times of the last change of the images, and the
    format of the features. It is written whole, so a search that was stopped goes on after its
    last whole file; a file that is damaged is made again; one that fits no search any more lies
    there until somebody deletes it.

    Args:
        paths: image files, or images in an HDF5 file.
        folder: made where it is missing.
        workers: threads that read images; none for one a CPU.

    Raises:
        UserError: an image can't be decoded, or the folder can't be written; the message names it.
    """
    folder = Path(folder)
    starts = range(0, len(paths), PART_IMAGES)
    chunks = [list(paths[start : start + PART_IMAGES]) for start in starts]
    files = [folder / f"features-{_digest(chunk)}.npy" for chunk in chunks]
    missing = [place for place, file in enumerate(files) if not _is_whole(file, len(chunks[place]))]
    todo = [path for place in missing for path in chunks[place]]
    found = map_images(read_features, todo, title="local features", workers=workers)
    try:
        for place in missing:
            rows = np.zeros(len(chunks[place]), _ROW)
            for row in rows:
                _fill_row(row, next(found))
            with replace_file(files[place]) as temporary, temporary.open("wb") as stream:
                np.save(stream, rows)
    except OSError as error:
        raise UserError(
            f"{folder}: features can't be written: {error.strerror}; give another folder"
        ) from None
    finally:
        found.close()
    return FeatureStore(files, len(paths))


def _digest(paths: Sequence[str]) -> str:
    digest = hashlib.sha256(_FORMAT.encode())
    for path in paths:
        inside = split_container_path(path)
        try:
            state = Path(inside[0] if inside else path).stat()
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        digest.update(f"\n{path}\0{state.st_size}\0{state.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def _fill_row(row: np.void, features: Features) -> None:
    count = len(features)
    row["count"], row["sides"] = count, features.thumbnail.shape
    for name in ("descriptors", "places", "scales", "angles"):
        row[name][:count] = getattr(features, name)
    row["thumbnail"][: features.thumbnail.size] = features.thumbnail.ravel()
    row["checksum"] = _checksum(row)


def _checksum(row: np.void) -> int:
    return zlib.crc32(row.tobytes()[: _ROW.fields["checksum"][1]])  # type: ignore[index]


def _is_whole(file: Path, count: int) -> bool:
    try:
        rows = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    if rows.dtype != _ROW or rows.shape != (count,):
        return False
    return all(_checksum(row) == row["checksum"] for row in rows)
