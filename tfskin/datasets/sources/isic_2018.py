"""ISIC 2018, task 3: the seven diagnoses of HAM10000, one-hot."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tfskin.datasets.records import build_records
from tfskin.datasets.sources.challenges import Challenge, read_challenge
from tfskin.datasets.sources.ham10000 import ATTRIBUTION, LICENSE

_LAYOUT = Challenge(
    name="isic_2018",
    truth=r"ISIC2018_Task3_(Training|Validation|Test)_GroundTruth\.csv",
    example="ISIC2018_Task3_*_GroundTruth.csv",
    key=("image", "image_id"),
    classes=("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"),
    further=r"ISIC2018_Task3_(Training|Validation|Test)_LesionGroupings\.csv",
    columns={"lesion_id": ("lesion_id",)},
)


def read_isic_2018(path: Path, *, images: Path | str | None = None) -> pd.DataFrame:
    """The records of the ISIC 2018 challenge, task 3: MEL, NV, BCC, AKIEC, BKL, DF, VASC.

    Reads ``ISIC2018_Task3_{Training,Validation,Test}_GroundTruth.csv`` (image and a column of 0
    and 1 for each class) and, where it is, ``ISIC2018_Task3_Training_LesionGroupings.csv``
    (image, lesion_id; diagnosis_confirm_type gives the label away and is not read). Validation
    rows are the val split, test rows the test split. Images lie anywhere below the folder.

    Args:
        path: the folder that holds all of it, or one truth file.
        images: the folder of the images, where it is another.

    Raises:
        UserError: no truth file, a missing column, a row that is not one-hot or has no image,
            an id twice.

    Reference:
        Codella et al., "Skin Lesion Analysis Toward Melanoma Detection 2018", arXiv:1902.03368.
    """
    columns = read_challenge(path, images, _LAYOUT)
    columns |= {"license": LICENSE, "attribution": ATTRIBUTION}
    return build_records(columns, source=str(path))
