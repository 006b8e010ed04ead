"""What every on-disk layout must do, tfskin's own and one's own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pandas as pd

from tfskin.datasets.options import SourceOptions
from tfskin.datasets.records import LINK_COLUMN, RECORD_COLUMNS, SPLIT_COLUMN
from tfskin.datasets.sources import read_records
from tfskin.errors import UserError


def check_source(
    source: str, path: Path | str, *, options: SourceOptions | None = None
) -> pd.DataFrame:
    """The records that a layout reads, when they are as ``tfskin.prepare`` needs them.

    Args:
        source: a name, an entry point, or ``package.module:function``.
        path: an example of the layout, with two diagnoses or more.
        options: what the layout leaves open.

    Raises:
        AssertionError: it reads other columns, relative paths, or something else when it is asked
            again or from another folder; it reads one diagnosis alone; or an empty folder or one
            that is not there is no error that names it.
        UserError: the example cannot be read.

    Example:
        >>> from tfskin.testing import check_source
        >>> records = check_source("my_package.lesions:read_lesions", "tests/example")
    """
    records = read_records(source, path, options=options)
    extra = [name for name in (SPLIT_COLUMN, LINK_COLUMN) if name in records]
    assert list(records.columns) == [*RECORD_COLUMNS, *extra], list(records.columns)
    assert records["path"].map(os.path.isabs).all(), "a path is relative to where one stands"
    assert records["diagnosis"].nunique() > 1, "the example has one diagnosis only"
    splits = set(records.get(SPLIT_COLUMN, []))
    assert splits <= {"train", "val", "test", ""}, f"unknown splits {sorted(splits)}"
    if source == "phantom":  # draws its images into the folder, whatever is in it
        return records
    absolute, here = Path(path).absolute(), Path.cwd()
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        try:
            again = read_records(source, absolute, options=options)
        finally:
            os.chdir(here)
        pd.testing.assert_frame_equal(again, records)
        for wrong in (Path(empty), Path(empty) / "nowhere"):
            said = _refusal(source, wrong, options)
            assert said, f"{wrong}: is read without an error"
            assert str(wrong) in said, f"the error does not name {wrong}: {said}"
    return records


def _refusal(source: str, path: Path, options: SourceOptions | None) -> str:
    """What is said of a folder that cannot be read; "" where it is read."""
    try:
        read_records(source, path, options=options)
    except UserError as error:
        return str(error)
    return ""
