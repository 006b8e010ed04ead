"""ISIC 2017: melanoma, seborrheic keratosis, nevus."""

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

CLASSES = ("melanoma", "seborrheic_keratosis")
_TRUTH = r"ISIC-2017_(Training|Validation|Test|Test_v2)_Part3_GroundTruth\.csv"
_METADATA = r"ISIC-2017_(Training|Validation|Test|Test_v2)_Data_metadata\.csv"


def read_isic_2017(path: Path, *, images: Path | str | None = None) -> pd.DataFrame:
    """The records of the ISIC 2017 challenge, part 3: melanoma, seborrheic_keratosis, nevus.

    Reads ``ISIC-2017_{Training,Validation,Test_v2}_Part3_GroundTruth.csv`` (columns image_id,
    melanoma, seborrheic_keratosis; a row without a 1 is a nevus) and, where they are,
    ``..._Data_metadata.csv`` (age_approximate, sex). Validation rows are the val split, test rows
    the test split. Pictures lie anywhere below the folder; superpixels are passed over.

    Args:
        path: the folder that holds all of it, or one truth file.
        images: the folder of the pictures, where it is another.

    Raises:
        UserError: no truth file, a missing column, a value that is not 0 or 1, a row without a
            picture, an id twice.

    Reference:
        Codella et al., "Skin Lesion Analysis Toward Melanoma Detection" (2018), arXiv:1710.05006.
    """
    tables = require_tables(path, _TRUTH, example="ISIC-2017_*_Part3_GroundTruth.csv")
    known = index_pictures(Path(images) if images is not None else path)
    further = find_tables(path, _METADATA)
    parts = []
    for table in tables:
        metadata = read_metadata(table)
        ids = read_ids(metadata, "image_id", "image", remedy="ISIC 2017 is published with it")
        about = look_up(further, ("image_id", "image"), ids)
        parts.append(
            {
                "image_id": ids,
                "path": take_pictures(metadata, ids, known),
                "diagnosis": read_one_hot(metadata, CLASSES, none="nevus"),
                "age": value_of(about, ids, "age_approximate", "age_approx"),
                "sex": value_of(about, ids, "sex"),
                "split": part_of(table),
            }
        )
    columns = join_parts(parts) | {"image_type": "dermoscopic", "source": "isic_2017"}
    return build_records(columns, source=str(path))
