"""ISIC 2019: eight diagnoses and "unknown", one-hot."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tfskin.datasets.records import build_records
from tfskin.datasets.sources.challenges import Challenge, read_challenge

_LAYOUT = Challenge(
    name="isic_2019",
    truth=r"ISIC_2019_(Training|Test)_GroundTruth\.csv",
    example="ISIC_2019_*_GroundTruth.csv",
    key=("image", "image_id"),
    classes=("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"),
    further=r"ISIC_2019_(Training|Test)_Metadata\.csv",
    columns={
        "lesion_id": ("lesion_id",),
        "age": ("age_approx",),
        "sex": ("sex",),
        "site": ("anatom_site_general",),
    },
)


def read_isic_2019(path: Path, *, images: Path | str | None = None) -> pd.DataFrame:
    """The records of the ISIC 2019 challenge: MEL, NV, BCC, AK, BKL, DF, VASC, SCC, UNK.

    Reads ``ISIC_2019_{Training,Test}_GroundTruth.csv`` (image and a column of 0 and 1 for each
    class) and, where it is, ``ISIC_2019_*_Metadata.csv`` (age_approx, anatom_site_general, sex,
    and lesion_id, which is blank for some). Test rows are the test split. Images lie anywhere
    below the folder. ``ISIC_0000001_downsampled`` is an image of its own; where
    ``ISIC_0000001`` is there too, the two are linked.

    Args:
        path: the folder that holds all of it, or one truth file.
        images: the folder of the images, where it is another.

    Raises:
        UserError: no truth file, a missing column, a row that is not one-hot or has no image,
            an id twice.

    Reference:
        https://challenge.isic-archive.com/landing/2019/
    """
    columns = read_challenge(path, images, _LAYOUT)
    columns["link"] = columns["image_id"].str.removesuffix("_downsampled")
    return build_records(columns, source=str(path))
