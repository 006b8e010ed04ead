"""Image files below a folder, known by what is in them; how many were left out, and why."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tfskin.datasets.words import IMAGE_SUFFIXES, strip_suffix
from tfskin.errors import UserError

logger = logging.getLogger(__name__)

# Masks and superpixels lie among the images of some data sets.
_MASK = re.compile(
    r"[_-](superpixels|segmentation|segm?|masks?|attribute_\w+|groundtruth)$", re.IGNORECASE
)
# What a source reads in other ways: nobody misses it among the images.
_TABLES = frozenset({".csv", ".tsv", ".tab", ".hdf5", ".h5"})
_SIGNATURES = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
)
_SUFFIXES_SHOWN = 5


@dataclass
class LeftOut:
    """What a search for images passed over.

    Attributes:
        taken: images that were found.
        reasons: why a file was left out -> number of files.
        suffixes: of the files that are no images.
        folders: linked folders that were not entered a second time.
    """

    taken: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    suffixes: set[str] = field(default_factory=set)
    folders: int = 0

    def describe(self) -> str:
        """How many files were left out and why, as one phrase; "" for none."""
        parts = [f"{count} {reason}" for reason, count in sorted(self.reasons.items()) if count]
        kinds = sorted(self.suffixes)
        if kinds:
            more = ", ..." if len(kinds) > _SUFFIXES_SHOWN else ""
            shown = ", ".join(kinds[:_SUFFIXES_SHOWN]) + more
            parts = [part.replace(_NO_IMAGE, f"{_NO_IMAGE} ({shown})") for part in parts]
        if self.folders:
            parts.append(f"{self.folders} links to folders that were searched already")
        if not parts:
            return ""
        total = sum(self.reasons.values())
        return f"left out {total} of {self.taken + total} files: {', '.join(parts)}"

    def say(self, where: Path | str) -> None:
        """Tell the user, where anything was left out."""
        if text := self.describe():
            logger.info(f"{where}: {text}")


_NO_IMAGE = "no readable image"
_HIDDEN = "hidden"
_MASKS = "masks or superpixels"


def is_image_file(path: Path | str) -> bool:
    """Whether a file is taken for an image: by its suffix, or else by its first bytes.

    What has an image's suffix and is none is found when it is read, and told as damaged.
    """
    if os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122
        return True
    if not os.path.isfile(path):  # a pipe would wait for ever  # noqa: PTH113
        return False
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            start = file.read(32)
    except OSError:
        return False
    return start.startswith(_SIGNATURES) or _is_webp(start) or _is_bmp(start)


def _is_webp(start: bytes) -> bool:
    return start[:4] == b"RIFF" and start[8:12] == b"WEBP"


def _is_bmp(start: bytes) -> bool:
    # Two letters alone begin many a text; the size of the header follows: OS/2, BITMAPINFO, V4, V5.
    return start[:2] == b"BM" and int.from_bytes(start[14:18], "little") in (12, 40, 108, 124)


def takes(path: Path | str, left_out: LeftOut) -> bool:
    """Whether a search takes the file; ``left_out`` counts it either way."""
    name = os.path.basename(path)  # noqa: PTH119
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    if name.startswith("."):  # also the "._x.jpg" that macOS leaves on disks
        left_out.reasons[_HIDDEN] += suffix in IMAGE_SUFFIXES
        return False
    if suffix in _TABLES:
        return False
    if not is_image_file(path):
        left_out.reasons[_NO_IMAGE] += 1
        left_out.suffixes.add(suffix or "without a suffix")
        return False
    if _MASK.search(strip_suffix(name)):
        left_out.reasons[_MASKS] += 1
        return False
    left_out.taken += 1
    return True


def list_images(folder: Path, left_out: LeftOut | None = None) -> list[Path]:
    """The image files directly in ``folder``, by name; hidden ones and masks are left out."""
    counts = left_out if left_out is not None else LeftOut()
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.is_dir())
    return [folder / name for name in names if takes(folder / name, counts)]


def walk_files(folder: Path, left_out: LeftOut | None = None) -> Iterator[tuple[str, str]]:
    """``(folder, file's name)`` of all below a folder, in order, hidden folders left out.

    Links to folders are followed, each folder once.

    Raises:
        UserError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}")

    seen = set()
    for place, children, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(place)
        if real in seen:  # two links to it, or one that leads back up
            children.clear()
            if left_out is not None:
                left_out.folders += 1
            continue
        seen.add(real)
        children[:] = sorted(name for name in children if not is_hidden(name))
        yield from ((place, name) for name in sorted(names))


def walk_images(folder: Path, left_out: LeftOut) -> Iterator[Path]:
    """The images below a folder, in order, links followed; what is left out is counted."""
    for place, name in walk_files(folder, left_out):
        path = Path(place, name)
        if takes(path, left_out):
            yield path


def is_hidden(name: str) -> bool:
    """Whether a folder is nobody's: hidden, or what macOS adds to an archive."""
    return name.startswith(".") or name == "__MACOSX"
