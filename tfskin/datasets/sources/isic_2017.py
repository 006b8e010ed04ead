"""ISIC 2017: melanoma, seborrheic keratosis, nevus."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tfskin.datasets.records import build_records
from tfskin.datasets.sources.challenges import Challenge, read_challenge

_LAYOUT = Challenge(
    name="isic_2017",
    truth=r"ISIC-2017_(Training|Validation|Test|Test_v2)_Part3_GroundTruth\.csv",
    example="ISIC-2017_*_Part3_GroundTruth.csv",
    key=("image_id", "image"),
    classes=("melanoma", "seborrheic_keratosis"),
    none="nevus",
    further=r"ISIC-2017_(Training|Validation|Test|Test_v2)_Data_metadata\.csv",
    columns={"age": ("age_approximate", "age_approx"), "sex": ("sex",)},
)


def read_isic_2017(path: Path, *, images: Path | str | None = None) -> pd.DataFrame:
    """The records of the ISIC 2017 challenge, part 3: melanoma, seborrheic_keratosis, nevus.

    Reads ``ISIC-2017_{Training,Validation,Test_v2}_Part3_GroundTruth.csv`` (columns image_id,
    melanoma, seborrheic_keratosis; a row without a 1 is a nevus) and, where they are,
    ``..._Data_metadata.csv`` (age_approximate, sex). Validation rows are the val split, test rows
    the test split. Images lie anywhere below the folder; superpixels are passed over.

    Args:
        path: the folder that holds all of it, or one truth file.
        images: the folder of the images, where it is another.

    Raises:
        UserError: no truth file, a missing column, a value that is not 0 or 1, a row without an
            image, an id twice.

    Reference:
        Codella et al., "Skin Lesion Analysis Toward Melanoma Detection" (2018), arXiv:1710.05006.
    """
    return build_records(read_challenge(path, images, _LAYOUT), source=str(path))
