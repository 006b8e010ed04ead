"""What is wrong with a data set before anybody trains on it: files, duplicates, artefacts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from tfskin.datasets.artefacts import DETECTORS, find_artefacts
from tfskin.datasets.beam import map_on_beam
from tfskin.datasets.duplicates import (
    HASH_WORDS,
    HASHED_SIDE,
    compare_hashes,
    hash_image,
)
from tfskin.datasets.images import examine_image, map_images
from tfskin.datasets.options import BeamRun, OnError
from tfskin.datasets.records import summarise_names
from tfskin.errors import UserError

UNKNOWN_FLAG = -1
_ARTEFACT_SIDE = 512
_PIECE = 256
"""Images that a Beam worker looks at before it hands in what it found."""


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        records: those whose image can be used, numbered from 0, with a column for each artefact
            detector: 1 found, 0 not found, -1 not looked for.
        files: all records, with the columns problem ("" for a usable image), oddities, width,
            height, sha256 and one for each detector.
        duplicates: as ``compare_hashes`` returns it, for the rows of ``records``.
        looked_for: "near_duplicates" and "artefacts", as far as they were looked for.
    """

    records: pd.DataFrame
    files: pd.DataFrame
    duplicates: pd.DataFrame
    looked_for: tuple[str, ...]

    @property
    def problems(self) -> pd.DataFrame:
        """The files that cannot be used."""
        return self.files[self.files["problem"] != ""]

    def pairs(self) -> pd.DataFrame:
        """The duplicates by name, a row a pair.

        Columns ``image_id_1, image_id_2, source_1, source_2, diagnosis_1, diagnosis_2, distance,
        turn, same_lesion`` (also when either lesion is unknown: "") and ``conflict``: whether
        both have a diagnosis and the two differ.
        """
        first = self.records.iloc[self.duplicates["first"]].reset_index(drop=True)
        second = self.records.iloc[self.duplicates["second"]].reset_index(drop=True)
        columns = {}
        for name in ("image_id", "source", "diagnosis", "lesion_id"):
            columns[f"{name}_1"], columns[f"{name}_2"] = first[name], second[name]
        table = pd.DataFrame(columns)
        known = (table["lesion_id_1"] != "") & (table["lesion_id_2"] != "")
        same = np.where(table["lesion_id_1"] == table["lesion_id_2"], "yes", "no")
        table["same_lesion"] = np.where(known, same, "")
        labelled = (table["diagnosis_1"] != "") & (table["diagnosis_2"] != "")
        table["conflict"] = labelled & (table["diagnosis_1"] != table["diagnosis_2"])
        table["distance"] = self.duplicates["distance"].to_numpy()
        table["turn"] = self.duplicates["turn"].to_numpy()
        return table


def audit_records(
    records: pd.DataFrame,
    *,
    on_error: OnError = "skip",
    near_duplicates: bool = True,
    artefacts: bool = True,
    workers: int | None = None,
    beam: BeamRun | None = None,
) -> Audit:
    """What is found in the images of ``records``; each is read once.

    Args:
        records: as ``read_records`` or ``merge_records`` returns them.
        on_error: ``fail`` refuses a data set with an image that cannot be used, ``skip`` goes on
            without it.
        near_duplicates: look for near duplicates.
        artefacts: look for artefacts.
        workers: threads that read images; none for one a CPU.
        beam: how an Apache Beam pipeline reads the images; None: this process reads them.

    Raises:
        UserError: an unusable image under ``fail``, or no usable one at all.
    """
    look = partial(_examine, near_duplicates=near_duplicates, artefacts=artefacts)
    paths = records["path"].tolist()
    hashes = np.zeros((len(paths), HASH_WORDS), np.uint64)
    columns: dict[str, list[object]] = {}  # a dict an image would be half of all memory
    for place, (row, found) in enumerate(_look_at_all(look, paths, workers, beam)):
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
        hashes[place] = found
    seen = pd.DataFrame(columns).astype({"problem": "str", "oddities": "str", "sha256": "str"})
    files = pd.concat([records.reset_index(drop=True), seen], axis=1)
    usable = (files["problem"] == "").to_numpy()
    _check_usable(files, usable, on_error)
    duplicates = _no_pairs()
    if near_duplicates:
        duplicates = compare_hashes(hashes[usable])
    kept = [*records.columns, *DETECTORS]
    return Audit(
        records=files.loc[usable, kept].reset_index(drop=True),
        files=files,
        duplicates=duplicates,
        looked_for=tuple(
            name
            for name, wanted in (("near_duplicates", near_duplicates), ("artefacts", artefacts))
            if wanted
        ),
    )


Look = Callable[[str], tuple[dict[str, object], np.ndarray]]


def _look_at_all(
    look: Look, paths: Sequence[str], workers: int | None, beam: BeamRun | None
) -> Iterator[tuple[dict[str, object], np.ndarray]]:
    if beam is None:
        yield from map_images(look, paths, title="looking at images", workers=workers)
        return
    pieces = [paths[start : start + _PIECE] for start in range(0, len(paths), _PIECE)]
    for found in map_on_beam(partial(_look_at_piece, look=look), pieces, beam=beam):
        yield from found


def _look_at_piece(
    paths: Sequence[str], *, look: Look
) -> list[tuple[dict[str, object], np.ndarray]]:
    return list(map_images(look, paths, title="", workers=None))


def _examine(
    path: str, *, near_duplicates: bool, artefacts: bool
) -> tuple[dict[str, object], np.ndarray]:
    flags = dict.fromkeys(DETECTORS, UNKNOWN_FLAG)
    row: dict[str, object] = {"problem": "", "oddities": "", "width": -1, "height": -1}
    row |= {"sha256": "", **flags}
    found = np.zeros(HASH_WORDS, np.uint64)
    at_least = _ARTEFACT_SIDE if artefacts else 2 * HASHED_SIDE
    try:
        image = examine_image(path, at_least=at_least)
    except UserError as error:
        return row | {"problem": str(error)}, found
    if near_duplicates:
        found = hash_image(image.image)
    if artefacts:
        flags = {name: int(hit) for name, hit in find_artefacts(image.image).items()}
    about = {"width": image.width, "height": image.height, "sha256": image.digest}
    return row | flags | about | {"oddities": "; ".join(image.oddities)}, found


def _check_usable(files: pd.DataFrame, usable: np.ndarray, on_error: OnError) -> None:
    problems = files["problem"][~usable].tolist()
    if not problems:
        return
    if len(problems) == len(files):
        raise UserError(f"none of {len(files)} images can be used; {problems[0]}")
    if on_error == "fail":
        more = f" ({len(problems)} images cannot be used)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}")


def describe_problems(audit: Audit) -> str:
    """One line about the images that were left out, or ""."""
    names = audit.problems["image_id"].tolist()
    return f"left out {len(names)} unusable images: {summarise_names(names)}" if names else ""


def _no_pairs() -> pd.DataFrame:
    return pd.DataFrame({"first": [], "second": [], "distance": [], "turn": []}, dtype=np.int64)
