"""ISIC 2016: benign against malignant."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tfskin.datasets.records import build_records
from tfskin.datasets.sources.challenges import (
    join_parts,
    part_of,
    read_ids,
    require_tables,
)
from tfskin.datasets.sources.images import data_folder, index_images
from tfskin.datasets.sources.metadata import read_metadata
from tfskin.errors import UserError

_TRUTH = r"ISBI2016_ISIC_Part3_(Training|Test)_GroundTruth\.csv"
_TRUTH_B = r"ISBI2016_ISIC_Part3B_(Training|Test)_GroundTruth\.csv"
_LABELS = {"benign": "benign", "malignant": "malignant", "0": "benign", "1": "malignant"}


def read_isic_2016(path: Path, *, images: Path | str | None = None) -> pd.DataFrame:
    """The records of the ISIC 2016 challenge, part 3 (or 3B): "benign" and "malignant".

    Reads ``ISBI2016_ISIC_Part3_Training_GroundTruth.csv`` and ``..._Test_GroundTruth.csv``
    (no header: id, then benign or malignant in the one, 0.0 or 1.0 in the other) and finds the
    images anywhere below the folder. Test rows are the test split.

    Args:
        path: the folder that holds both, or one truth file.
        images: the folder of the images, where it is another.

    Raises:
        UserError: no truth file, a label that is neither, a row without an image, an id twice.

    Reference:
        Gutman et al., "Skin Lesion Analysis toward Melanoma Detection" (2016), arXiv:1605.01397.
    """
    try:
        tables = require_tables(path, _TRUTH, example="ISBI2016_ISIC_Part3_*_GroundTruth.csv")
    except UserError:
        # Part 3B has the same images as part 3, with masks.
        tables = require_tables(
            path, _TRUTH_B, example="ISBI2016_ISIC_Part3_*_GroundTruth.csv (or Part3B)"
        )
    known = index_images(Path(images) if images is not None else data_folder(path))
    parts = []
    for table in tables:
        metadata = read_metadata(table, header=("image", "label"))
        ids = read_ids(metadata, "image", remedy="")
        words = metadata.rows["label"].str.lower().str.removesuffix(".0")
        wrong = words[~words.isin(list(_LABELS))]
        if len(wrong):
            raise UserError(
                f"{table}: line {wrong.index[0]}: label '{metadata.rows['label'][wrong.index[0]]}' "
                "is none of benign, malignant, 0, 1; mend it"
            )
        parts.append(
            {
                "image_id": ids,
                "path": known.take(metadata, ids),
                "diagnosis": words.map(_LABELS),
                "split": part_of(table),
            }
        )
    known.say()
    columns = join_parts(parts) | {"image_type": "dermoscopic", "source": "isic_2016"}
    return build_records(columns, source=str(path))
