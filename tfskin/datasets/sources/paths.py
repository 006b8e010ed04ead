"""Tables of image paths, and the files that their rows mean."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tfskin.datasets.finding import LeftOut, list_images
from tfskin.datasets.sources.metadata import read_metadata
from tfskin.datasets.words import strip_suffix

PATH_COLUMNS = (
    "path",
    "image_path",
    "file_path",
    "filepath",
    "file",
    "filename",
    "file_name",
    "image_name",
    "image",
    "image_id",
    "isic_id",
)
TABLE_SUFFIXES = (".csv", ".tab", ".tsv")


class PathFinder:
    """Files that a table names, however it spells them.

    Args:
        folder: that the paths are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[Path, dict[str, str]] = {}
        self._images: dict[Path, dict[str, Path]] = {}

    def find(self, written: str) -> Path:
        """The file that ``written`` means; where there is none, the path as it is written.

        A path may have backslashes, lack its image's suffix, and be in another Unicode form, or
        another case, than the names on the disk, as far as one name alone fits.
        """
        plain = Path(os.path.normpath(self._folder / written.replace("\\", "/")))
        for path in (Path(os.path.normpath(self._folder / written)), plain):
            if path.is_file():
                return path
        place = self._find_folder(plain.parent)
        if place is None:
            return plain
        name = self._names(place).get(_fold(plain.name)) or ""
        if name and (place / name).is_file():
            return place / name
        return self._images_of(place).get(_fold(plain.name), plain)

    def unnamed(self, named: list[Path]) -> LeftOut:
        """What the folders of the named images hold beside them."""
        left_out = LeftOut()
        for folder in dict.fromkeys(path.parent for path in named):
            list_images(folder, left_out)
        others = max(left_out.taken - len(set(named)), 0)
        left_out.taken -= others
        left_out.reasons["without a row"] += others
        return left_out

    def _find_folder(self, folder: Path) -> Path | None:
        if folder.is_dir():
            return folder
        if folder.parent == folder:
            return None
        above = self._find_folder(folder.parent)
        name = self._names(above).get(_fold(folder.name)) if above else None
        return above / name if above and name and (above / name).is_dir() else None

    def _names(self, folder: Path) -> dict[str, str]:
        """Folded name -> name on the disk; "" where several fold to one."""
        if folder not in self._listed:
            names: dict[str, str] = {}
            for name in os.listdir(folder):  # noqa: PTH208
                key = _fold(name)
                names[key] = "" if key in names else name
            self._listed[folder] = names
        return self._listed[folder]

    def _images_of(self, folder: Path) -> dict[str, Path]:
        """Folded name without suffix -> the first image of that name."""
        if folder not in self._images:
            images = reversed(list_images(folder))
            self._images[folder] = {_fold(strip_suffix(path.name)): path for path in images}
        return self._images[folder]


def read_paths(table: Path) -> Iterator[Path]:
    """The paths in a table's column of paths, one of :data:`PATH_COLUMNS`, empty ones left out.

    Relative paths start at the table's folder. The table is read as the source ``table`` reads it.

    Raises:
        UserError: it is no table, or has no such column.
    """
    metadata = read_metadata(table, errors="surrogateescape")
    written = metadata.require(*PATH_COLUMNS, remedy="name the column of paths so")
    finder = PathFinder(table.parent)
    return (finder.find(text) for text in written if text)


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
