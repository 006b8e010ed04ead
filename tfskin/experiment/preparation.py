"""Pictures on disk -> records -> groups -> splits -> shards."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tfskin.datasets.duplicates import find_near_duplicates
from tfskin.datasets.shards import ShardOptions, Shards, load_shards, write_shards
from tfskin.datasets.sources import SourceOptions, read_records
from tfskin.datasets.splits import Fractions, group_records, make_splits, read_splits_csv
from tfskin.errors import UserError

PHANTOM = "phantom"


@dataclass(frozen=True)
class PrepareOptions:
    """What :func:`prepare` can be told beyond the source and where it lies.

    Attributes:
        name: name of the data set; the source's name unless given.
        version: version folder, such as 1.0.0.
        seed: seed of splits, of the order in the shards, and of phantoms.
        fractions: shares of train, val, calibration and test.
        split_file: a published ``splits.csv`` to use again.
        near_duplicates: look for near duplicates and keep them in one split.
        overwrite: replace shards of that name and version.
        source: options of the source, such as column names or the number of phantoms.
        shards: size cap and quality of the stored pictures.
    """

    name: str | None = None
    version: str = "1.0.0"
    seed: int = 0
    fractions: Fractions = field(default_factory=Fractions)
    split_file: Path | None = None
    near_duplicates: bool = True
    overwrite: bool = False
    source: SourceOptions = field(default_factory=SourceOptions)
    shards: ShardOptions = field(default_factory=ShardOptions)


def prepare(
    source: str,
    path: Path | str | None = None,
    *,
    output: Path | str = "tfrecords",
    options: PrepareOptions | None = None,
    say: Callable[[str], None] = print,
) -> Shards:
    """The finished shards of a data set, split without leaks.

    Args:
        source: a layout on disk: ham10000, isic_archive, image_folder, table, or phantom.
        path: where it lies; none for phantoms, which are generated.
        output: shards go to ``<output>/<name>/<version>/``.
        options: name, seed, splits, size cap.
        say: where a line of news goes.

    Raises:
        UserError: a missing folder, column or picture, a broken picture, a split that leaks.

    Example:
        >>> from tfskin.datasets.sources import SourceOptions
        >>> from tfskin.datasets.sources.phantom import PhantomOptions
        >>> few = SourceOptions(phantom=PhantomOptions(lesions=60))
        >>> options = tfskin.PrepareOptions(source=few)
        >>> shards = tfskin.prepare("phantom", options=options)
        92 images, 60 lesions, 0 near-duplicate pairs, 35 groups
        >>> sorted(shards.counts)
        ['calibration', 'test', 'train', 'val']
    """
    chosen = options or PrepareOptions()
    name = chosen.name or source
    target = Path(output) / name / chosen.version
    if target.exists() and not chosen.overwrite:
        raise UserError(f"{target}: is there already; give --overwrite, or another name or version")
    if source == PHANTOM and path is None:
        with tempfile.TemporaryDirectory() as folder:
            records = read_records(source, Path(folder) / name, options=chosen.source)
            return _prepare_records(records, name, output, chosen, say)
    records = read_records(source, path, options=chosen.source)
    return _prepare_records(records, name, output, chosen, say)


def find_shards(shards: str, *, say: Callable[[str], None] = print) -> Shards:
    """The shards that a config names; the embedded phantoms are generated when first asked for."""
    if shards != PHANTOM:
        return load_shards(shards)
    folder = Path("tfrecords") / PHANTOM
    if not any(folder.glob("*/shards.json")):
        return prepare(PHANTOM, output=folder.parent, say=say)
    return load_shards(folder)


def _prepare_records(
    records: pd.DataFrame,
    name: str,
    output: Path | str,
    options: PrepareOptions,
    say: Callable[[str], None],
) -> Shards:
    if records["diagnosis"].nunique() < 2:
        only = records["diagnosis"].iloc[0]
        raise UserError(f"{name}: every image is '{only}'; a classifier needs two diagnoses")
    duplicates = _no_duplicates()
    if options.near_duplicates:
        duplicates = find_near_duplicates(list(records["path"]))
    groups = group_records(records, duplicates)
    say(_describe(records, duplicates, groups))
    if options.split_file is not None:
        splits = read_splits_csv(options.split_file, records)
    else:
        fixed = records.get("split", None)
        splits = make_splits(
            records, groups, fractions=options.fractions, seed=options.seed, fixed=fixed
        )
    return write_shards(
        records,
        splits,
        groups,
        name=name,
        version=options.version,
        output_dir=output,
        options=replace(options.shards, overwrite=options.overwrite, seed=options.seed),
    )


def _no_duplicates() -> pd.DataFrame:
    return pd.DataFrame({"first": [], "second": [], "distance": []}, dtype=np.int64)


def _describe(records: pd.DataFrame, duplicates: pd.DataFrame, groups: np.ndarray) -> str:
    lesions = records["lesion_id"]
    known = lesions[lesions != ""]
    text = (
        f"{len(records)} images, {known.nunique()} lesions, {len(duplicates)} near-duplicate "
        f"pairs, {len(np.unique(groups))} groups"
    )
    if known.empty and (records["patient_id"] == "").all():
        text += (
            "\nno lesion or patient ids: near duplicates are kept together, but other pictures "
            "of one lesion or patient can't be told apart and may be in two splits"
        )
    return text
