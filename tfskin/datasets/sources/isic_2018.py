"""ISIC 2018, task 3: the seven diagnoses of HAM10000, one-hot."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tfskin.datasets.records import build_records
from tfskin.datasets.sources.challenges import (
    find_tables,
    index_pictures,
    join_parts,
    look_up,
    part_of,
    read_ids,
    read_one_hot,
    require_tables,
    take_pictures,
    value_of,
)
from tfskin.datasets.sources.ham10000 import ATTRIBUTION, LICENSE
from tfskin.datasets.sources.metadata import read_metadata

CLASSES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_TRUTH = r"ISIC2018_Task3_(Training|Validation|Test)_GroundTruth\.csv"
_LESIONS = r"ISIC2018_Task3_(Training|Validation|Test)_LesionGroupings\.csv"


def read_isic_2018(path: Path, *, images: Path | str | None = None) -> pd.DataFrame:
    """The records of the ISIC 2018 challenge, task 3: MEL, NV, BCC, AKIEC, BKL, DF, VASC.

    Reads ``ISIC2018_Task3_{Training,Validation,Test}_GroundTruth.csv`` (image and a column of 0
    and 1 for each class) and, where it is, ``ISIC2018_Task3_Training_LesionGroupings.csv``
    (image, lesion_id; diagnosis_confirm_type gives the label away and is not read). Validation
    rows are the val split, test rows the test split. Pictures lie anywhere below the folder.

    Args:
        path: the folder that holds all of it, or one truth file.
        images: the folder of the pictures, where it is another.

    Raises:
        UserError: no truth file, a missing column, a row that is not one-hot or has no picture,
            an id twice.

    Reference:
        Codella et al., "Skin Lesion Analysis Toward Melanoma Detection 2018", arXiv:1902.03368.
    """
    tables = require_tables(path, _TRUTH, example="ISIC2018_Task3_*_GroundTruth.csv")
    known = index_pictures(Path(images) if images is not None else path)
    groupings = find_tables(path if path.is_dir() else path.parent, _LESIONS)
    parts = []
    for table in tables:
        metadata = read_metadata(table)
        ids = read_ids(metadata, "image", "image_id", remedy="ISIC 2018 is published with it")
        lesions = look_up(groupings, ("image", "image_id"), ids)
        parts.append(
            {
                "image_id": ids,
                "path": take_pictures(metadata, ids, known),
                "diagnosis": read_one_hot(metadata, CLASSES),
                "lesion_id": value_of(lesions, ids, "lesion_id"),
                "split": part_of(table),
            }
        )
    columns = join_parts(parts) | {
        "image_type": "dermoscopic",
        "license": LICENSE,
        "attribution": ATTRIBUTION,
        "source": "isic_2018",
    }
    return build_records(columns, source=str(path))
