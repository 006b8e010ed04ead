"""ISIC 2020 (SIIM-ISIC): melanoma by patient, with a list of duplicates."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tfskin.datasets.groups import group_records, name_groups
from tfskin.datasets.records import build_records
from tfskin.datasets.sources.challenges import (
    add_columns,
    find_tables,
    read_ids,
    require_tables,
)
from tfskin.datasets.sources.images import data_folder, index_images
from tfskin.datasets.sources.metadata import archive_columns, read_metadata
from tfskin.datasets.words import clean_image_id

_TRUTH_V2 = r"ISIC_2020_Training_GroundTruth_v2\.csv"
_TRUTH = r"(ISIC_2020_Training_GroundTruth|train)\.csv"
_DUPLICATES = r"ISIC_2020_Training_Duplicates\.csv"


def read_isic_2020(
    path: Path, *, images: Path | str | None = None, label_column: str | None = None
) -> pd.DataFrame:
    """The records of the ISIC 2020 challenge: nevus, melanoma, seborrheic keratosis, unknown, ...

    Reads ``ISIC_2020_Training_GroundTruth_v2.csv`` (with lesion_id), else
    ``ISIC_2020_Training_GroundTruth.csv`` or Kaggle's ``train.csv``: image_name, patient_id, sex,
    age_approx, anatom_site_general_challenge, diagnosis, benign_malignant, target. The pairs of
    ``ISIC_2020_Training_Duplicates.csv`` (image_name_1, image_name_2), where it is, are linked:
    they are never in two splits. Images lie anywhere below the folder. The truth of the test
    set is not public.

    Args:
        path: the folder that holds all of it, or the truth file.
        images: the folder of the images, where it is another.
        label_column: the column to take as the diagnosis, such as "benign_malignant"; most
            benign images have the diagnosis "unknown".

    Raises:
        UserError: no truth file, a missing column, a row without an image, an id twice.

    Reference:
        Rotemberg et al., "A patient-centric dataset of images and metadata for identifying
        melanomas using clinical context", Scientific Data 8:34 (2021).
    """
    tables = find_tables(path, _TRUTH_V2) or require_tables(
        path, _TRUTH, example="ISIC_2020_Training_GroundTruth_v2.csv"
    )
    metadata = read_metadata(tables[0])
    ids = read_ids(metadata, "image_name", "image", remedy="ISIC 2020 is published with it")
    folder = data_folder(path)
    if not tables[0].name.lower().endswith("_v2.csv"):  # the former table knew no lesions
        metadata = add_columns(metadata, find_tables(folder, _TRUTH_V2), ("image_name",), ids)
    known = index_images(Path(images) if images is not None else folder)
    paths = known.take(metadata, ids)
    known.say()
    return build_records(
        {
            "image_id": ids,
            "path": paths,
            "diagnosis": metadata.require_values(
                label_column or "diagnosis", remedy="choose one of them as label_column"
            ),
            **archive_columns(metadata),
            "image_type": "dermoscopic",
            "source": "isic_2020",
            "link": _link_duplicates(ids, find_tables(folder, _DUPLICATES)),
        },
        source=str(metadata.file),
    )


def _link_duplicates(ids: pd.Series, tables: list[Path]) -> pd.Series | str:
    """A name that duplicates share; "" for an image alone."""
    if not tables:
        return ""
    pairs = read_metadata(tables[0])
    remedy = "the list of duplicates has it"
    place = {image_id: number for number, image_id in enumerate(ids)}
    ends = {
        "first": pairs.require("image_name_1", remedy=remedy).map(clean_image_id).map(place),
        "second": pairs.require("image_name_2", remedy=remedy).map(clean_image_id).map(place),
    }
    duplicates = pd.DataFrame(ends).dropna()  # the list is of more than one file
    return name_groups(ids, group_records(pd.DataFrame(index=ids.index), duplicates))
