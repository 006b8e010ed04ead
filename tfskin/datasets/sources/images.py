"""The images of a data set by their id: each once, the largest of its copies."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from PIL import Image

from tfskin.datasets.decoding import FORMATS
from tfskin.datasets.finding import LeftOut, list_images, walk_images
from tfskin.datasets.sources.metadata import Metadata
from tfskin.datasets.words import clean_image_id, is_archive_image, spelling_key
from tfskin.errors import UserError

_OF_TABLES = re.compile(r"truth|metadata|label|annotation|table|csv", re.IGNORECASE)
_NO_ROW = "without a row"
_COPIES = "smaller or further copies"


class ImageIndex:
    """Image id -> absolute path, and which of them a table has asked for.

    Args:
        known: image id -> path.
        where: the images were looked for, for what is told.
        left_out: what the search passed over.
    """

    def __init__(
        self, known: Mapping[str, str], where: str, left_out: LeftOut | None = None
    ) -> None:
        self._known = dict(known)
        self._where = where
        self._left_out = left_out or LeftOut(taken=len(self._known))
        self._used: set[str] = set()
        self._near: dict[str, str] | None = None

    def __len__(self) -> int:
        return len(self._known)

    def take(self, metadata: Metadata, ids: pd.Series) -> list[str]:
        """The path of each id's image.

        Args:
            metadata: named in errors.
            ids: image ids, indexed by line number.

        Raises:
            UserError: a row whose image is nowhere; the message names the line and the id.
        """
        found = [self._find(image_id) for image_id in ids]
        lost = ids[[path is None for path in found]]
        if len(lost):
            more = f" (and of {len(lost) - 1} more rows)" if len(lost) > 1 else ""
            raise UserError(
                f"{metadata.file}: line {lost.index[0]}: no image of '{lost.iloc[0]}'{more} in "
                f"{self._where}; put it there, or leave its row out"
            )
        taken = [path for path in found if path is not None]
        self._used.update(taken)
        return taken

    def say(self) -> None:
        """Tell in one line which files were left out; call it when all tables have taken theirs."""
        unused = len(self._known) - len(self._used)
        self._left_out.reasons[_NO_ROW] += unused
        self._left_out.taken -= unused
        self._left_out.say(self._where)

    def _find(self, image_id: str) -> str | None:
        path = self._known.get(image_id) or self._known.get(clean_image_id(image_id))
        if path is None:  # a name that differs in case or blanks alone, where there is one such
            path = self._nearly().get(spelling_key(clean_image_id(image_id)))
        return path or None

    def _nearly(self) -> dict[str, str]:
        if self._near is None:
            self._near = {}
            for name, path in self._known.items():
                key = spelling_key(name)
                self._near[key] = "" if key in self._near else path
        return self._near


def data_folder(path: Path) -> Path:
    """The folder that a source is in, which may be named by one of its tables.

    A table that lies in a folder of its own, as archives unpack it (``..._GroundTruth/``,
    ``metadata/``), is of the folder above, where the images and the other tables are.
    """
    if path.is_dir():
        return path
    folder = path.absolute().parent
    if _OF_TABLES.search(folder.name) and next(walk_images(folder, LeftOut()), None) is None:
        return folder.parent
    return folder


def index_images(folder: Path) -> ImageIndex:
    """Every image below ``folder`` by its name without suffix.

    Of images of one name the largest is taken: many a data set comes with small copies.

    Args:
        folder: or a file in it.

    Raises:
        UserError: there is no such folder.
    """
    folder = folder.expanduser().absolute()
    if folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of images; give the one that holds them")
    left_out = LeftOut()
    known = _largest_of_each(walk_images(folder, left_out), left_out)
    return ImageIndex(known, f"{folder} or below", left_out)


def index_places(folder: Path, places: Iterable[str]) -> ImageIndex:
    """As :func:`index_images`, of the images directly in some folders.

    Args:
        folder: where the images are, or what ``places`` are relative to.
        places: sub-folders to look into; "." is ``folder`` itself; missing ones are skipped.

    Raises:
        UserError: there is none of these folders.
    """
    folder = folder.expanduser().absolute()
    folders = [folder / place for place in places if (folder / place).is_dir()]
    if not folders:
        raise UserError(f"{folder}: no such folder of images; give the one that holds them")
    left_out = LeftOut()
    images = (image for place in folders for image in list_images(place, left_out))
    return ImageIndex(_largest_of_each(images, left_out), ", ".join(map(str, folders)), left_out)


def drop_small_copies(images: Iterable[Path], left_out: LeftOut) -> list[Path]:
    """The images, and of those that bear one id of the ISIC Archive the largest alone.

    Other names say nothing: a folder a patient may hold a ``1.jpg`` each.
    """
    kept = _largest_of_each(images, left_out, everything=False)
    return [Path(path) for path in kept.values()]


def _largest_of_each(
    images: Iterable[Path], left_out: LeftOut, *, everything: bool = True
) -> dict[str, str]:
    """Id -> path; with ``everything`` for any name, else for ids of the archive alone."""
    known: dict[str, str] = {}
    for image in images:
        name = clean_image_id(image.name)
        if not everything and not is_archive_image(name):
            name = str(image)
        other = known.setdefault(name, str(image))
        if other == str(image):
            continue
        left_out.taken -= 1
        left_out.reasons[_COPIES] += 1
        if _count_pixels(image) > _count_pixels(other):
            known[name] = str(image)
    return known


def _count_pixels(path: Path | str) -> int:
    """Of an image as its header says; 0 where that can't be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return image.width * image.height
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 0
