"""ISIC 2019: eight diagnoses and "unknown", one-hot."""

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
from tfskin.datasets.sources.metadata import read_metadata

CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
_TRUTH = r"ISIC_2019_(Training|Test)_GroundTruth\.csv"
_METADATA = r"ISIC_2019_(Training|Test)_Metadata\.csv"


def read_isic_2019(path: Path, *, images: Path | str | None = None) -> pd.DataFrame:
    """The records of the ISIC 2019 challenge: MEL, NV, BCC, AK, BKL, DF, VASC, SCC, UNK.

    Reads ``ISIC_2019_{Training,Test}_GroundTruth.csv`` (image and a column of 0 and 1 for each
    class) and, where it is, ``ISIC_2019_*_Metadata.csv`` (age_approx, anatom_site_general, sex,
    and lesion_id, which is blank for some). Test rows are the test split. Pictures lie anywhere
    below the folder. ``ISIC_0000001_downsampled`` is a picture of its own; where
    ``ISIC_0000001`` is there too, the two are linked.

    Args:
        path: the folder that holds all of it, or one truth file.
        images: the folder of the pictures, where it is another.

    Raises:
        UserError: no truth file, a missing column, a row that is not one-hot or has no picture,
            an id twice.

    Reference:
        https://challenge.isic-archive.com/landing/2019/
    """
    tables = require_tables(path, _TRUTH, example="ISIC_2019_*_GroundTruth.csv")
    known = index_pictures(Path(images) if images is not None else path)
    further = find_tables(path if path.is_dir() else path.parent, _METADATA)
    parts = []
    for table in tables:
        metadata = read_metadata(table)
        ids = read_ids(metadata, "image", "image_id", remedy="ISIC 2019 is published with it")
        about = look_up(further, ("image", "image_id"), ids)
        parts.append(
            {
                "image_id": ids,
                "path": take_pictures(metadata, ids, known),
                "diagnosis": read_one_hot(metadata, CLASSES),
                "lesion_id": value_of(about, ids, "lesion_id"),
                "age": value_of(about, ids, "age_approx"),
                "sex": value_of(about, ids, "sex"),
                "site": value_of(about, ids, "anatom_site_general"),
                "split": part_of(table),
            }
        )
    columns = join_parts(parts) | {"image_type": "dermoscopic", "source": "isic_2019"}
    columns["link"] = columns["image_id"].str.removesuffix("_downsampled")  # type: ignore[attr-defined]
    return build_records(columns, source=str(path))
