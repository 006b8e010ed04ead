"""HAM10000 as the Harvard Dataverse and Kaggle publish it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tfskin.datasets.records import build_records
from tfskin.datasets.sources.images import index_places
from tfskin.datasets.sources.metadata import (
    check_unique,
    find_metadata,
    read_metadata,
)
from tfskin.datasets.words import clean_image_id
from tfskin.errors import UserError

DIAGNOSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
LICENSE = "CC-BY-NC-4.0"
ATTRIBUTION = "Tschandl, Rosendahl, Kittler: The HAM10000 dataset, Scientific Data 5:180161 (2018)"
METADATA_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
IMAGE_FOLDERS = (
    "HAM10000_images_part_1",
    "HAM10000_images_part_2",
    "HAM10000_images",
    "images",
    ".",
)
_REMEDY = "HAM10000 is published with it"


def read_ham10000(path: Path, *, images: Path | str | None = None) -> pd.DataFrame:
    """The records of HAM10000: 7 diagnoses (akiec, bcc, bkl, df, mel, nv, vasc) with lesion ids.

    Reads ``HAM10000_metadata`` (``.csv``, ``.tab`` or no suffix; columns ``lesion_id``,
    ``image_id``, ``dx``, ``age``, ``sex``, ``localization`` by name) and looks for the images
    in ``HAM10000_images_part_1/``, ``HAM10000_images_part_2/``, ``HAM10000_images/``,
    ``images/`` and the folder itself. ``dx_type`` gives the label away and is not read.

    Args:
        path: the folder, or the metadata file.
        images: the folder of the images, where it is none of these.

    Raises:
        UserError: no metadata file, a missing column, another diagnosis, a row without an image,
            an id twice.

    Reference:
        Tschandl, Rosendahl, Kittler, "The HAM10000 dataset", Scientific Data 5:180161 (2018).
    """
    metadata = read_metadata(find_metadata(path, METADATA_NAMES))
    ids = metadata.require_values("image_id", remedy=_REMEDY)
    ids = ids.map(clean_image_id)
    check_unique(metadata, ids)
    diagnoses = metadata.require_values("dx", remedy=_REMEDY)
    strange = diagnoses.index[~diagnoses.isin(DIAGNOSES)]
    if len(strange):
        raise UserError(
            f"{metadata.file}: line {strange[0]}: dx '{diagnoses[strange[0]]}' is none of "
            f"{', '.join(DIAGNOSES)}; correct it, or read other tables with the source 'table'"
        )
    lesions = metadata.require_values("lesion_id", remedy=f"{_REMEDY}, and splits need it")
    folder = Path(images) if images is not None else metadata.file.parent
    places = (".",) if images is not None else IMAGE_FOLDERS
    known = index_places(folder, places)
    paths = known.take(metadata, ids)
    known.say()
    return build_records(
        {
            "image_id": ids,
            "path": paths,
            "diagnosis": diagnoses,
            "lesion_id": lesions,
            "age": metadata.get("age"),
            "sex": metadata.get("sex"),
            "site": metadata.get("localization"),
            "image_type": "dermoscopic",
            "clinic": metadata.get("dataset"),
            "license": LICENSE,
            "attribution": ATTRIBUTION,
            "source": "ham10000",
        },
        source=str(metadata.file),
    )
