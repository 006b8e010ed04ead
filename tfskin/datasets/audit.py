"""What is wrong with a data set before anybody trains on it: files, duplicates, artefacts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
from tfskin.datasets.groups import BY_COPY, BY_ID, BY_PHOTOGRAPH
from tfskin.datasets.images import examine_image, map_images
from tfskin.datasets.options import BeamRun, OnError
from tfskin.datasets.photographs.probability import SPLITTING
from tfskin.datasets.records import summarise_names
from tfskin.errors import UserError

logger = logging.getLogger(__name__)

UNKNOWN_FLAG = -1
_ARTEFACT_SIDE = 512
_WORTH_SAYING = 60.0
_CORE_SECONDS = 0.06
"""What an image costs a core: 0.05 s among 600 of 200 x 150 px, or among 118 of full size."""
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
        photographs: links of photographs as ``find_photographs`` returns them, for the rows of
            ``records``; None where they were not looked for.
        looked_for: "near_duplicates", "photographs" and "artefacts", as far as they were looked
            for.
    """

    records: pd.DataFrame
    files: pd.DataFrame
    duplicates: pd.DataFrame
    photographs: pd.DataFrame | None
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
        table = self.name_pairs(self.duplicates)
        table["distance"] = self.duplicates["distance"].to_numpy()
        table["turn"] = self.duplicates["turn"].to_numpy()
        return table

    def photograph_pairs(self) -> pd.DataFrame:
        """The links of photographs that are probable enough for splitting, a row a pair.

        The most probable come first. Columns as of :meth:`pairs` up to ``conflict``, then
        ``linked_by`` ("photograph", with "id" or "copy" before it where one lesion id or the hash
        links the two as well) and the columns of ``search.LINK_COLUMNS`` after first and second.
        There is no row where they were not looked for.
        """
        links = self.photograph_links()
        links = links.sort_values("probability", ascending=False, kind="stable", ignore_index=True)
        table = self.name_pairs(links)
        copies = set(zip(self.duplicates["first"], self.duplicates["second"], strict=True))
        kinds = []
        for same, *ends in zip(table["same_lesion"], links["first"], links["second"], strict=True):
            by = [BY_ID] * (same == "yes") + [BY_COPY] * (tuple(ends) in copies)
            kinds.append(" ".join([*by, BY_PHOTOGRAPH]))
        table["linked_by"] = pd.Series(kinds, dtype="str")
        return pd.concat([table, links.drop(columns=["first", "second"])], axis=1)

    def photograph_links(self) -> pd.DataFrame:
        """The rows of ``photographs`` that are probable enough for splitting."""
        links = no_photographs() if self.photographs is None else self.photographs
        return links[links["probability"] >= SPLITTING].reset_index(drop=True)

    def name_pairs(self, links: pd.DataFrame) -> pd.DataFrame:
        """Links of rows of ``records``, first and second, by name: see :meth:`pairs`."""
        first = self.records.iloc[links["first"]].reset_index(drop=True)
        second = self.records.iloc[links["second"]].reset_index(drop=True)
        columns = {}
        for name in ("image_id", "source", "diagnosis", "lesion_id"):
            columns[f"{name}_1"], columns[f"{name}_2"] = first[name], second[name]
        table = pd.DataFrame(columns)
        known = (table["lesion_id_1"] != "") & (table["lesion_id_2"] != "")
        same = np.where(table["lesion_id_1"] == table["lesion_id_2"], "yes", "no")
        table["same_lesion"] = np.where(known, same, "")
        labelled = (table["diagnosis_1"] != "") & (table["diagnosis_2"] != "")
        table["conflict"] = labelled & (table["diagnosis_1"] != table["diagnosis_2"])
        return table


def audit_records(
    records: pd.DataFrame,
    *,
    on_error: OnError = "skip",
    near_duplicates: bool = True,
    photographs: bool = True,
    artefacts: bool = True,
    cache: Path | None = None,
    workers: int | None = None,
    beam: BeamRun | None = None,
) -> Audit:
    """What is found in the images of ``records``; each is read once.

    Args:
        records: as ``read_records`` or ``merge_records`` returns them.
        on_error: ``fail`` refuses a data set with an image that cannot be used, ``skip`` goes on
            without it.
        near_duplicates: look for near duplicates.
        photographs: look for further photographs of one lesion.
        artefacts: look for artefacts.
        cache: a folder for the local features of images, so that a stopped search for photographs
            goes on; None: a temporary one.
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
    kept_records = files.loc[usable, kept].reset_index(drop=True)
    looked_for = {
        "near_duplicates": near_duplicates,
        "photographs": photographs,
        "artefacts": artefacts,
    }
    return Audit(
        records=kept_records,
        files=files,
        duplicates=duplicates,
        photographs=_look_for_photographs(kept_records["path"].tolist(), cache, workers)
        if photographs
        else None,
        looked_for=tuple(name for name, wanted in looked_for.items() if wanted),
    )


def _look_for_photographs(
    paths: list[str], cache: Path | None, workers: int | None
) -> pd.DataFrame:
    from tfskin.datasets.photographs.search import find_photographs

    cores = workers or os.cpu_count() or 1
    seconds = len(paths) * _CORE_SECONDS / cores
    if seconds > _WORTH_SAYING:
        logger.info(
            f"looking for photographs of one lesion among {len(paths):,} images: about "
            f"{seconds / 60:.0f} minutes on {cores} free cores (--no-photographs leaves it out)"
        )
    return find_photographs(paths, cache=cache, workers=workers)


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


def no_photographs() -> pd.DataFrame:
    """Links of photographs where there is none, with the columns that are always there."""
    columns = ("first", "second", "probability", "inliers")
    return pd.DataFrame({name: [] for name in columns}, dtype=np.int64)


def _no_pairs() -> pd.DataFrame:
    return pd.DataFrame({"first": [], "second": [], "distance": [], "turn": []}, dtype=np.int64)
