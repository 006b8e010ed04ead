"""Images in class folders, in split folders, or named by their class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from tfskin.datasets.finding import LeftOut, is_hidden, list_images, walk_images
from tfskin.datasets.records import SPLIT_COLUMN, build_records
from tfskin.datasets.sources.images import drop_small_copies
from tfskin.datasets.sources.split_names import SPLIT_NAMES
from tfskin.datasets.words import strip_suffix
from tfskin.errors import UserError

# Letters (of any script) up to the first digit, underscore or dash.
_PREFIX = re.compile(r"([^\W\d_]+)[\d_-]")


def read_image_folder(path: Path, *, prefixes: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The records of a folder of images, with the class from a folder's or the file's name.

    Three layouts: ``root/class/*`` (sub-folders of a class count too), ``root/train/class/*``
    with ``val`` (also valid, validation) and ``test``, and images directly in the folder whose
    name begins with the class: the letters before the first digit, underscore or dash, or
    ``prefixes``. Split folders may hold images of the third kind too. Left out, and told, are
    hidden files, masks (``..._segmentation``) and files that are no images: a file whose suffix is
    none of an image's is judged by its first bytes.

    ``image_id`` is the path below the folder without its suffix, '/' written '__'. There are no
    lesion ids: group near duplicates and photographs of one lesion before splitting.

    Args:
        path: the folder.
        prefixes: start of a file's name -> class; the longest that fits wins.

    Returns:
        Records; with a column ``split`` when there are split folders.

    Raises:
        UserError: no image, images beside class folders, split folders beside others, a file
            name without a class, or one class only.
    """
    if not path.is_dir():
        raise UserError(f"{path}: not a folder; give the one that holds the class folders")
    root = path.absolute()
    folders = _list_folders(root)
    splits = [SPLIT_NAMES.get(folder.name.lower(), "") for folder in folders]
    if any(splits) and not all(splits):
        other = folders[splits.index("")].name
        split = folders[next(i for i, name in enumerate(splits) if name)].name
        raise UserError(
            f"{root}: folder '{other}' lies beside the split folder '{split}'; "
            "keep either split folders or class folders there"
        )
    is_split = any(splits)
    left_out = LeftOut()
    rows: list[tuple[Path, str, str]] = []
    if is_split:
        stray = list_images(root, left_out)
        if stray:
            raise UserError(f"{stray[0]}: lies beside split folders; move it into one of them")
        for folder, split in zip(folders, splits, strict=True):
            found = _read_classes(folder, prefixes, left_out)
            rows += [(file, label, split) for file, label in found]
    else:
        rows += [(file, label, "") for file, label in _read_classes(root, prefixes, left_out)]
    _check_classes(root, [label for _, label, _ in rows], left_out)
    left_out.say(root)
    columns = {
        "image_id": [strip_suffix("__".join(f.relative_to(root).parts)) for f, _, _ in rows],
        "path": [str(file) for file, _, _ in rows],
        "diagnosis": [label for _, label, _ in rows],
        "source": "image_folder",
    }
    if is_split:
        columns[SPLIT_COLUMN] = [split for _, _, split in rows]
    return build_records(columns, source=str(root))


def _list_folders(folder: Path) -> list[Path]:
    return sorted(
        child for child in folder.iterdir() if child.is_dir() and not is_hidden(child.name)
    )


def _read_classes(
    folder: Path, prefixes: Mapping[str, str] | None, left_out: LeftOut
) -> Iterator[tuple[Path, str]]:
    """``(file, class)`` of one folder: by its sub-folders, or else by its files' names."""
    loose = list_images(folder, left_out)
    below = ((child, walk_images(child, left_out)) for child in _list_folders(folder))
    classes = [(child, sorted(drop_small_copies(images, left_out))) for child, images in below]
    classes = [(child, files) for child, files in classes if files]
    if loose and classes:
        raise UserError(f"{loose[0]}: lies beside class folders; move it into one of them")
    if prefixes is not None and classes:
        raise UserError(
            f"{folder}: prefixes were given, but its images are in class folders "
            f"('{classes[0][0].name}'); leave prefixes out"
        )
    for child, files in classes:
        for file in files:
            yield file, child.name
    for file in loose:
        yield file, _class_of_name(file, prefixes)


def _class_of_name(file: Path, prefixes: Mapping[str, str] | None) -> str:
    if prefixes is None:
        match = _PREFIX.match(file.name)
        if match is None:
            raise UserError(
                f"{file}: its name does not begin with a class, such as 'nevus_1.jpg'; "
                "sort the images into one folder a class, or give prefixes"
            )
        return match[1]
    fitting = [prefix for prefix in prefixes if file.name.startswith(prefix)]
    if not fitting:
        raise UserError(
            f"{file}: its name begins with none of the prefixes {', '.join(map(repr, prefixes))}; "
            "add one, or take the file away"
        )
    return prefixes[max(fitting, key=len)]


def _check_classes(root: Path, labels: list[str], left_out: LeftOut) -> None:
    if not labels:
        why = f" ({left_out.describe()})" if left_out.reasons.total() else ""
        raise UserError(f"{root}: there is no image in it{why}; give a folder that holds images")
    if len(set(labels)) == 1:
        raise UserError(
            f"{root}: all images are of one class, '{labels[0]}'; give the folder that holds "
            "one sub-folder a class, or prefixes of the files' names"
        )
