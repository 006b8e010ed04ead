"""MILK10k (ISIC 2025): a clinical and a dermoscopic image of each lesion."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tfskin.datasets.records import build_records
from tfskin.datasets.sources.challenges import (
    find_tables,
    read_ids,
    read_one_hot,
    require_tables,
)
from tfskin.datasets.sources.images import data_folder, index_images
from tfskin.datasets.sources.metadata import (
    archive_columns,
    check_unique,
    read_metadata,
)
from tfskin.errors import UserError

CLASSES = (
    *("AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH"),
    *("MEL", "NV", "SCCKA", "VASC"),
)
_TRUTH = r"MILK10k_Training_GroundTruth\.csv"
_METADATA = r"MILK10k_Training_Metadata\.csv"


def read_milk10k(path: Path, *, images: Path | str | None = None) -> pd.DataFrame:
    """The records of MILK10k: 11 diagnoses, two images a lesion, with its lesion id.

    Reads ``MILK10k_Training_GroundTruth.csv`` (lesion_id and a column of 0 and 1 for each class)
    and ``MILK10k_Training_Metadata.csv`` (a row an image: lesion_id, isic_id, image_type, ...).
    Images lie anywhere below the folder. ``image_type`` tells clinical from dermoscopic
    images. The columns MONET_* are another network's answers and are not read.

    Args:
        path: the folder that holds both.
        images: the folder of the images, where it is another.

    Raises:
        UserError: a missing file or column, a row that is not one-hot or has no image, a
            lesion without truth, an id twice.

    Reference:
        MILK study team, "MILK10k", ISIC Archive (2025), https://challenge.isic-archive.com/landing/milk10k/
    """
    folder = data_folder(path)
    truth = read_metadata(require_tables(folder, _TRUTH, example="MILK10k_*_GroundTruth.csv")[0])
    lesions = truth.require_values("lesion_id", remedy="MILK10k is published with it")
    check_unique(truth, lesions)
    diagnosis = read_one_hot(truth, CLASSES).set_axis(lesions.to_list())
    tables = find_tables(folder, _METADATA)
    if not tables:
        raise UserError(f"{folder}: no MILK10k_Training_Metadata.csv in it or below; put it there")
    metadata = read_metadata(tables[0])
    ids = read_ids(metadata, "isic_id", remedy="MILK10k is published with it")
    lesion_ids = metadata.require_values("lesion_id", remedy="MILK10k is published with it")
    lost = lesion_ids[~lesion_ids.isin(list(diagnosis.index))]
    if len(lost):
        raise UserError(
            f"{metadata.file}: line {lost.index[0]}: lesion '{lost.iloc[0]}' has no row in "
            f"{truth.file}; leave its images out"
        )
    known = index_images(Path(images) if images is not None else folder)
    paths = known.take(metadata, ids)
    known.say()
    return build_records(
        {
            "image_id": ids,
            "path": paths,
            "diagnosis": lesion_ids.map(diagnosis),
            **archive_columns(metadata),
            "lesion_id": lesion_ids,
            "site": metadata.get("site", "anatom_site_general"),
            "source": "milk10k",
        },
        source=str(metadata.file),
    )
