"""A data set on disk -> what is wrong with it, before anything is trained."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from tfskin.datasets.audit_report import write_audit
from tfskin.datasets.options import PrepareOptions
from tfskin.datasets.records import SPLIT_COLUMN, summarise_names
from tfskin.datasets.sources import data_set_name
from tfskin.datasets.splits_file import read_splits_csv
from tfskin.errors import UserError
from tfskin.experiment.preparing import forget_features, gathered, look_at_records
from tfskin.locks import only_writer

logger = logging.getLogger(__name__)


def audit(
    source: str,
    path: Path | str | None = None,
    *,
    output: Path | str | None = None,
    options: PrepareOptions | None = None,
) -> dict[str, Any]:
    """Audit a data set: return counts, and write tables and a page to ``audits/<name>``.

    Looks at every file (unreadable, cut off, no image, CMYK, 16 bits, animated, transparent,
    turned, absurdly large), at near duplicates and photographs of one lesion within and across
    sources, at artefacts, and at what each artefact and each metadata field says about the
    diagnosis. A split, of a file or given by the source, is judged: how many images of val,
    calibration and test have a photograph of their lesion in train.

    Args:
        source: a layout on disk, as for :func:`tfskin.prepare`.
        path: where it lies; none for phantoms, which are generated.
        output: where ``report.html``, ``images.csv``, ``duplicates.csv``, ``photographs.csv``,
            ``associations.csv``, ``leaks.csv`` and ``summary.json`` go.
        options: further sources, download, Beam, on_error, what to look for, the split to judge;
            shards are passed over.

    Returns:
        The content of ``summary.json``.

    Raises:
        UserError: as ``read_records`` and :func:`splits_to_judge`; an unusable image, where
            ``on_error`` is "fail".

    Example:
        >>> from tfskin.datasets.options import PhantomOptions, SourceOptions
        >>> few = SourceOptions(phantom=PhantomOptions(lesions=20))
        >>> options = tfskin.PrepareOptions(source=few)
        >>> found = tfskin.audit("phantom", output="audits/phantom", options=options)
        >>> found["problems"]
        0
    """
    chosen = options or PrepareOptions(on_error="skip")
    if chosen.split_file is not None:
        read_splits_csv(chosen.split_file)  # before the images are looked at
    name = chosen.name or data_set_name(source)
    folder = Path(output) if output else audit_folder(source, chosen)
    named = dict.fromkeys([name, *(other for other, _ in chosen.also)])
    with only_writer(folder), gathered(source, path, name, chosen) as records:
        found = look_at_records(records, chosen, folder)
        splits = splits_to_judge(found.records, chosen)
        summary = write_audit(folder, found, title=", ".join(named), splits=splits)
    forget_features(folder)
    return summary


def splits_to_judge(records: pd.DataFrame, options: PrepareOptions) -> pd.Series | None:
    """The split of each record as a file or the source gives it ("" for none); None without.

    Raises:
        UserError: the file cannot be read, or has no row for any of the images.
    """
    if options.split_file is None:
        return records.get(SPLIT_COLUMN, None)
    splits = records["image_id"].map(read_splits_csv(options.split_file))
    if splits.isna().all():
        raise UserError(f"{options.split_file}: has no row for any image of the source")
    missing = records["image_id"][splits.isna()].tolist()
    if missing:
        logger.info(f"{options.split_file}: has no row for {summarise_names(missing)}")
    return splits.fillna("")


def audit_folder(source: str, options: PrepareOptions) -> Path:
    """The folder of an audit for which none is given."""
    return Path("audits") / (options.name or data_set_name(source))
