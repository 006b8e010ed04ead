"""The shard files of a data set, written by the workers of an Apache Beam pipeline."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import pandas as pd

from tfskin.datasets.beam import map_on_beam
from tfskin.datasets.options import BeamRun, ShardOptions
from tfskin.datasets.shard_files import Written, count_files, name_files, write_records
from tfskin.startup import import_tensorflow_quietly

_PIECES = ".pieces"
_MOST_RECORDS_OF_A_PIECE = 2000


@dataclass(frozen=True)
class _Piece:
    """Records of one split that one worker writes."""

    split: str
    rows: pd.DataFrame


def write_splits_on_beam(
    folder: Path, name: str, parts: Sequence[pd.DataFrame], options: ShardOptions, beam: BeamRun
) -> dict[str, Written]:
    """Split -> what was written, with the records and their order as ``write_split`` has them.

    Only the borders between files may lie elsewhere: a worker writes a piece of at most 2,000
    records at a time, into files of its own.

    Args:
        folder: where the files go; every worker must see it.
        name: of the data set.
        parts: for each split, what ``write_split`` takes.
        options: size cap, JPEG quality, size of the files.
        beam: how the pipeline runs.

    Raises:
        UserError: as ``write_split`` and ``map_on_beam``.
    """
    pieces = [piece for part in parts for piece in _cut(part)]
    plain = replace(options, beam=None, left_out={})
    (folder / _PIECES).mkdir()
    work = partial(_write_piece, folder=folder, options=plain)
    written: dict[str, list[Written]] = {}
    for piece, result in zip(pieces, map_on_beam(work, pieces, beam=beam), strict=True):
        written.setdefault(piece.split, []).append(result)
    named = {
        split: name_files(folder, f"{name}-{split}", found) for split, found in written.items()
    }
    shutil.rmtree(folder / _PIECES)  # with what was left of pieces that Beam tried twice
    return named


def _cut(part: pd.DataFrame) -> list[_Piece]:
    count = max(count_files(len(part)), math.ceil(len(part) / _MOST_RECORDS_OF_A_PIECE))
    size = math.ceil(len(part) / count)
    split = str(part["split"].iloc[0])
    return [_Piece(split, part.iloc[start : start + size]) for start in range(0, len(part), size)]


def _write_piece(piece: _Piece, *, folder: Path, options: ShardOptions) -> Written:
    import_tensorflow_quietly()
    prefix = f"{_PIECES}/{uuid4().hex}"
    return write_records(folder, prefix, piece.rows, options, max_records=len(piece.rows))
