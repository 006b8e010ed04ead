"""ISIC 2024 (SLICE-3D): 400,000 crops of total-body photographs, in one HDF5 file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tfskin.datasets.containers import container_path, list_container
from tfskin.datasets.records import build_records
from tfskin.datasets.sources.challenges import (
    add_columns,
    find_tables,
    read_ids,
    require_tables,
)
from tfskin.datasets.sources.images import ImageIndex, data_folder, index_images
from tfskin.datasets.sources.metadata import Metadata, archive_columns, read_metadata
from tfskin.datasets.words import clean_image_id

_TRUTH = r"(train-metadata|ISIC_2024_Training_GroundTruth)\.csv"
_PERMISSIVE = r"ISIC_2024_Permissive_Training_GroundTruth\.csv"
_FURTHER = r"ISIC_2024_(Permissive_)?Training_(Metadata|Supplement)\.csv"
_CONTAINER = r"(train-image|ISIC_2024_.*)\.(hdf5|h5)"
_LEVELS = ("iddx_5", "iddx_4", "iddx_3", "iddx_2", "iddx_1")
_TARGETS = {"0": "Benign", "1": "Malignant", "0.0": "Benign", "1.0": "Malignant"}


def read_isic_2024(
    path: Path, *, images: Path | str | None = None, label_column: str | None = None
) -> pd.DataFrame:
    """The records of the ISIC 2024 challenge: diagnoses of the archive's tree, mostly "Benign".

    Reads ``train-metadata.csv`` (isic_id, target, patient_id, lesion_id, age_approx, sex,
    anatom_site_general, iddx_1 to iddx_5, ...) and the images in ``train-image.hdf5`` (a
    dataset of JPEG bytes for each isic_id), or as files anywhere below the folder. The challenge
    page's own form, ``ISIC_2024_Training_GroundTruth.csv`` with ``..._Supplement.csv``, is read
    too; ``ISIC_2024_Permissive_Training_GroundTruth.csv``, which has a part of the images, where
    it is alone. The diagnosis is the most specific filled level of iddx_*, else the target as
    "Benign" or "Malignant". The measures of the photographing system (tbp_*) are not read.

    Args:
        path: the folder that holds both, or the metadata file.
        images: the HDF5 file or the folder of the images, where it is another.
        label_column: the column to take as the diagnosis, such as "iddx_1" or "target".

    Raises:
        UserError: no metadata, a missing column, a row without an image, an id twice, an HDF5
            file that cannot be read.

    Reference:
        Kurtansky et al., "The SLICE-3D dataset", Scientific Data 11:884 (2024).
    """
    tables = find_tables(path, _TRUTH) or require_tables(
        path, _PERMISSIVE, example="train-metadata.csv"
    )
    metadata = read_metadata(tables[0])
    ids = read_ids(metadata, "isic_id", remedy="ISIC 2024 is published with it")
    folder = data_folder(path)
    metadata = add_columns(metadata, find_tables(folder, _FURTHER), ("isic_id",), ids)
    known = _find_images(Path(images) if images is not None else folder)
    paths = known.take(metadata, ids)
    known.say()
    return build_records(
        {
            "image_id": ids,
            "path": paths,
            "diagnosis": _read_diagnoses(metadata, label_column),
            **archive_columns(metadata),
            "source": "isic_2024",
        },
        source=str(metadata.file),
    )


def _find_images(place: Path) -> ImageIndex:
    containers = [place] if place.is_file() else find_tables(place, _CONTAINER)
    if not containers:
        return index_images(place)
    known: dict[str, str] = {}
    for file in containers:  # the test set's, or the permissive part's, may lie beside the whole
        for name in list_container(file):
            known.setdefault(clean_image_id(name), container_path(file.absolute(), name))
    return ImageIndex(known, "the folder or below")


def _read_diagnoses(metadata: Metadata, label_column: str | None) -> pd.Series:
    if label_column is not None:
        chosen = metadata.require(label_column, remedy="choose one of them as label_column")
        return chosen.replace(_TARGETS)
    metadata.require(
        *reversed(_LEVELS), "target", "malignant", remedy="choose one with label_column"
    )
    result = pd.Series("", index=metadata.rows.index)
    for name in (*_LEVELS, "target", "malignant"):
        result = result.where(result != "", metadata.get(name).replace(_TARGETS))
    return result
