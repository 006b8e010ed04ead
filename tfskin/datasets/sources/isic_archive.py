"""The ISIC Archive as its command-line tool writes it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tfskin.datasets.records import build_records
from tfskin.datasets.sources.images import index_places
from tfskin.datasets.sources.metadata import (
    Metadata,
    archive_columns,
    check_unique,
    find_metadata,
    read_metadata,
)
from tfskin.datasets.words import clean_image_id
from tfskin.errors import UserError

METADATA_NAMES = ("metadata.csv", "metadata.tab")
DIAGNOSIS_LEVELS = ("diagnosis_5", "diagnosis_4", "diagnosis_3", "diagnosis_2", "diagnosis_1")
FLAT_DIAGNOSES = (
    *("diagnosis", "meta.clinical.diagnosis"),
    *("benign_malignant", "meta.clinical.benign_malignant"),
)


def read_isic_archive(
    path: Path, *, images: Path | str | None = None, label_column: str | None = None
) -> pd.DataFrame:
    """The records of a download from the ISIC Archive, licence and attribution per image.

    Reads ``metadata.csv`` (columns by name; the archive returns the union of the fields that the
    query's images have) beside ``ISIC_*.jpg``, or with them in ``images/``. Images without a
    row are left out.

    The diagnosis of an image is the most specific level that is filled in: the first non-empty
    one of ``diagnosis_5`` to ``diagnosis_1``, then (older downloads) ``diagnosis``, then
    ``benign_malignant``; "" where none is. The first tool's columns (``name``,
    ``meta.clinical.*``) are read too. Fold the names into classes when reading the shards::

        classes: {melanoma: ["Melanoma, NOS", "Melanoma in situ"], nevus: [Nevus]}

    or choose one level with ``label_column`` ("diagnosis_2": all melanomas have the one name
    "Malignant melanocytic proliferations (Melanoma)").

    Args:
        path: the folder, or the metadata file.
        images: the folder of the images, where they are not beside the file or in ``images/``.
        label_column: the column to take as the diagnosis, for every image.

    Raises:
        UserError: no metadata file, a missing column, no diagnosis at all, a row without an
            image, an id twice.
    """
    metadata = read_metadata(find_metadata(path, METADATA_NAMES))
    first_tool = metadata.find("meta.clinical.benign_malignant") is not None
    ids = metadata.require_values(
        "name" if first_tool else "isic_id",
        remedy="download with 'isic image download', which writes it",
    )
    ids = ids.map(clean_image_id)
    check_unique(metadata, ids)
    folder = Path(images) if images is not None else metadata.file.parent
    places = (".",) if images is not None else (".", "images")
    known = index_places(folder, places)
    paths = known.take(metadata, ids)
    known.say()
    return build_records(
        {
            "image_id": ids,
            "path": paths,
            "diagnosis": _read_diagnoses(metadata, label_column),
            **archive_columns(metadata),
            "source": "isic_archive",
        },
        source=str(metadata.file),
    )


def _read_diagnoses(metadata: Metadata, label_column: str | None) -> pd.Series:
    if label_column is not None:
        chosen = metadata.require(label_column, remedy="choose one of them as label_column")
    else:
        metadata.require(
            *reversed(DIAGNOSIS_LEVELS), *FLAT_DIAGNOSES, remedy="choose one with label_column"
        )
        chosen = pd.Series("", index=metadata.rows.index)
        for name in (*DIAGNOSIS_LEVELS, *FLAT_DIAGNOSES):
            chosen = chosen.where(chosen != "", metadata.get(name))
    if (chosen == "").all():
        raise UserError(
            f"{metadata.file}: no image has a diagnosis; download images that have one, such as "
            "with --search 'diagnosis_1:*'"
        )
    return chosen
