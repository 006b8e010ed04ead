"""Images on disk -> records -> audit -> groups -> splits -> shards."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tfskin.datasets.archives import ARCHIVES, check_archives, download_source
from tfskin.datasets.audit import Audit, audit_records, describe_problems
from tfskin.datasets.cautions import describe_oddities, describe_untrained
from tfskin.datasets.folds import find_leaks, make_folds
from tfskin.datasets.group_counts import count_for_proof, describe_groups
from tfskin.datasets.groups import link_records
from tfskin.datasets.merging import merge_records
from tfskin.datasets.options import BeamRun, Fractions, PrepareOptions
from tfskin.datasets.records import LINKED_BY, SPLIT_COLUMN, summarise_names
from tfskin.datasets.shard_writing import check_name, only_preparer, write_shards
from tfskin.datasets.shards import Shards
from tfskin.datasets.sources import data_set_name, read_records
from tfskin.datasets.splits import check_disjoint, make_splits
from tfskin.datasets.splits_file import apply_splits_csv, read_splits_csv
from tfskin.errors import UserError

logger = logging.getLogger(__name__)

PHANTOM = "phantom"
FEATURES_FOLDER = ".photographs"
"""Local features of the images lie there until a command has ended, so that it can go on."""


def prepare(
    source: str,
    path: Path | str | None = None,
    *,
    output: Path | str = "tfrecords",
    options: PrepareOptions | None = None,
) -> Shards:
    """Split a data set without leaks, write its shards, and return them.

    Args:
        source: a layout on disk: a name of ``datasets.sources.SOURCES``, an entry point of the
            group ``tfskin.sources``, or a function of one's own as ``package.module:function``.
        path: where it lies; none for phantoms, which are generated.
        output: shards go to ``<output>/<name>/<version>/``.
        options: name, seed, splits, size cap.

    Raises:
        UserError: a missing folder, column or image, a broken image (unless it is to be
            skipped), a split that leaks.

    Example:
        >>> from tfskin.datasets.options import PhantomOptions, SourceOptions
        >>> few = SourceOptions(phantom=PhantomOptions(lesions=60))
        >>> options = tfskin.PrepareOptions(source=few)
        >>> shards = tfskin.prepare("phantom", options=options)
        >>> sorted(shards.counts)
        ['calibration', 'test', 'train', 'val']
    """
    chosen = options or PrepareOptions()
    name = chosen.name or data_set_name(source)
    check_name(name, chosen.version)
    _check_split_file(chosen)
    target = Path(output) / name / chosen.version
    with only_preparer(target):
        if target.exists() and not chosen.overwrite:
            raise UserError(
                f"{target}: is there already; give --overwrite, or another name or version"
            )
        with gathered(source, path, name, chosen) as records:
            return _prepare_records(records, name, output, chosen)


def _check_split_file(options: PrepareOptions) -> None:
    """Refuse a splits file that cannot be used, and options that have no effect beside one."""
    if options.split_file is None:
        return
    for option, given in (
        ("--folds", options.folds is not None),
        ("--fractions", options.fractions != Fractions()),
    ):
        if given:
            raise UserError(
                f"--split {options.split_file}: gives the splits, so {option} has no use; leave "
                "one out"
            )
    read_splits_csv(options.split_file)


@contextmanager
def gathered(
    source: str, path: Path | str | None, name: str, options: PrepareOptions
) -> Iterator[pd.DataFrame]:
    """The records of the sources, downloaded first where that is asked.

    Phantoms without a folder of their own are on the disk as long as this lasts.
    """
    if options.download:
        download_sources(source, path, options=options)
    if source != PHANTOM or path is not None:
        yield gather_records(source, path, options=options)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield gather_records(source, Path(folder) / name, options=options)


def look_at_records(records: pd.DataFrame, options: PrepareOptions, folder: Path) -> Audit:
    """What is found in the images of the records.

    Beam leaves its results in ``folder``, and the search for photographs its local features, for
    another try where this one is stopped: see :func:`forget_features`.
    """
    found = audit_records(
        records,
        on_error=options.on_error,
        near_duplicates=options.near_duplicates,
        photographs=_wants_photographs(records, options),
        artefacts=options.artefacts,
        cache=folder / FEATURES_FOLDER,
        workers=options.shards.workers,
        beam=beam_run(options, folder),
    )
    if len(found.problems):
        logger.warning(f"{describe_problems(found)}")
    linked = link_records(found.records, found.duplicates, found.photographs)
    for line in describe_oddities(found.records, linked.groups):
        logger.warning(line)
    return found


def _wants_photographs(records: pd.DataFrame, options: PrepareOptions) -> bool:
    if options.photographs is None:
        return bool((records["source"] != PHANTOM).any())
    return options.photographs


def forget_features(folder: Path) -> None:
    """Delete what the search for photographs has left in ``folder``: the work is done."""
    shutil.rmtree(folder / FEATURES_FOLDER, ignore_errors=True)


def download_sources(
    source: str,
    path: Path | str | None,
    *,
    options: PrepareOptions,
) -> None:
    """Bring the public archives of the source, and of those merged in, into their folders.

    Raises:
        UserError: no folder is named; as ``datasets.archives.download_source``.
    """
    check_archives(source)
    if path is None:
        raise UserError(f"--download: name the folder that '{source}' goes to")
    download_source(source, Path(path).expanduser())
    for other, place in options.also:
        if other in ARCHIVES:
            download_source(other, place.expanduser())


def gather_records(
    source: str,
    path: Path | str | None,
    *,
    options: PrepareOptions,
) -> pd.DataFrame:
    """The records of the source, and of the sources that are merged in.

    Raises:
        UserError: as ``read_records``.
    """
    tables = [read_records(source, path, options=options.source)]
    tables += [read_records(other, place) for other, place in options.also]
    several = len(tables) > 1
    harmonise = several if options.harmonise is None else options.harmonise
    if not several and not harmonise:
        return tables[0]
    merged = merge_records(tables, harmonise=harmonise)
    if merged.repeated:
        logger.info(
            f"{merged.repeated} rows are of images that an earlier source has; each is taken once"
        )
    if merged.conflicts:
        names = summarise_names(list(merged.conflicts))
        first = next(iter(merged.conflicts.values()))
        logger.warning(
            f"the sources disagree about {len(merged.conflicts)} images, such as "
            f"{names} ({' or '.join(first)}); the first source's word is taken"
        )
    return merged.records


def _prepare_records(
    records: pd.DataFrame,
    name: str,
    output: Path | str,
    options: PrepareOptions,
) -> Shards:
    named = records["diagnosis"][records["diagnosis"] != ""]
    if named.nunique() < 2:
        only = named.iloc[0] if len(named) else "without a diagnosis"
        raise UserError(f"{name}: every image is '{only}'; a classifier needs two diagnoses")
    if options.split_file is not None and options.on_error == "fail" and not options.drop_leaks:
        apply_splits_csv(options.split_file, records)  # before the images are looked at
    folder = Path(output) / name
    audit = look_at_records(records, options, folder)
    left_out = dict(zip(audit.problems["image_id"], audit.problems["problem"], strict=True))
    linked = link_records(audit.records, audit.duplicates, audit.photographs)
    kept, groups = audit.records.assign(**{LINKED_BY: linked.linked_by}), linked.groups
    logger.info(describe_groups(audit, linked))
    if options.drop_leaks:
        dropped, reason = _find_dropped(kept, groups, options)
        if dropped.any():
            logger.info(f"left out {dropped.sum()} images: {reason}")
            left_out |= dict.fromkeys(kept["image_id"][dropped], reason)
            kept, groups = kept[~dropped].reset_index(drop=True), groups[~dropped]
    splits = _make_splits(kept, groups, options)
    shard_options = replace(
        options.shards,
        overwrite=options.overwrite,
        seed=options.seed,
        near_duplicates=len(audit.duplicates) if options.near_duplicates else None,
        photographs=count_for_proof(audit, linked, splits.set_axis(kept["image_id"])),
        left_out=left_out,
        beam=beam_run(options, folder),
    )
    for line in describe_untrained(kept, splits):
        logger.warning(line)
    shards = write_shards(
        kept,
        splits,
        groups,
        name=name,
        version=options.version,
        output_dir=output,
        options=shard_options,
    )
    forget_features(folder)
    return shards


def _find_dropped(
    records: pd.DataFrame, groups: np.ndarray, options: PrepareOptions
) -> tuple[np.ndarray, str]:
    """A mask of the images that ``drop_leaks`` leaves out, and why."""
    if options.split_file is not None:
        named = records["image_id"].isin(read_splits_csv(options.split_file).index).to_numpy()
        if not named.any():
            raise UserError(f"{options.split_file}: has no row for any image of the source")
        return ~named, f"no row in {options.split_file.name}"
    reason = "shares a lesion, patient or image with a held-out split"
    if SPLIT_COLUMN not in records:
        return np.zeros(len(records), bool), reason
    return find_leaks(groups, records[SPLIT_COLUMN]), reason


def beam_run(options: PrepareOptions, folder: Path) -> BeamRun | None:
    """How images are read by Beam, with its results in ``folder``; None where they are not."""
    if options.beam_options is None:
        return None
    return BeamRun(options.beam_options, folder.absolute())


def _make_splits(records: pd.DataFrame, groups: np.ndarray, options: PrepareOptions) -> pd.Series:
    if options.split_file is not None:
        splits = apply_splits_csv(options.split_file, records)
        try:
            check_disjoint(groups, splits, records["image_id"].tolist())
        except UserError as error:
            raise UserError(
                f"{options.split_file}: {error}; tfskin-audit --split shows them, and with "
                "--no-photographs only ids and near duplicates count"
            ) from None
        return splits
    fixed = records.get(SPLIT_COLUMN, None)
    fractions, seed = options.fractions, options.seed
    if options.folds is not None:
        return make_folds(
            records, groups, folds=options.folds, fractions=fractions, seed=seed, fixed=fixed
        )
    return make_splits(records, groups, fractions=fractions, seed=seed, fixed=fixed)
