"""k folds for cross-validation, and what to do with training images that a test set contains."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

from tfskin.datasets.options import Fractions
from tfskin.datasets.records import SPLIT_COLUMN
from tfskin.datasets.splits import make_splits
from tfskin.datasets.splits_file import FOLD
from tfskin.errors import UserError


def make_folds(
    records: pd.DataFrame,
    groups: np.ndarray,
    *,
    folds: int,
    fractions: Fractions | None = None,
    seed: int = 0,
    fixed: pd.Series | None = None,
) -> pd.Series:
    """The split of each record: "fold0" to "fold<k-1>", and calibration and test.

    Test and calibration are made (or kept) as by ``make_splits``; what would be train and val is
    dealt into folds, whole groups, stratified by diagnosis (scikit-learn's
    ``StratifiedGroupKFold``). Reading a fold makes it val and the others train.

    Args:
        records: a frame with columns image_id and diagnosis.
        groups: int (N,).
        folds: 2 to 100.
        fractions: val is added to train.
        seed: the same seed, records and groups give the same folds.
        fixed: as for ``make_splits``; a given val split is dealt into folds like train.

    Raises:
        UserError: too few groups, or as ``make_splits``.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if not 2 <= folds <= 100:
        raise UserError(f"folds: must be 2 to 100, got {folds}")
    shares = fractions or Fractions()
    shares = replace(shares, train=shares.train + shares.val, val=0.0)
    if fixed is not None:
        fixed = fixed.replace("val", "train")
    splits = make_splits(records, groups, fractions=shares, seed=seed, fixed=fixed)
    result = splits.to_numpy(object).copy()
    pool = np.flatnonzero(result == "train")
    there = len(np.unique(groups[pool]))
    if there < folds:
        raise UserError(
            f"too few images for {folds} folds: {there} groups (lesions, patients or near "
            "duplicates); ask for fewer folds"
        )
    strata = pd.factorize(records["diagnosis"].to_numpy(object)[pool], sort=True)[0]
    if np.bincount(strata).max() < folds:  # scikit-learn refuses: nothing is left to stratify
        strata = np.zeros_like(strata)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for number, (_, part) in enumerate(splitter.split(pool, strata, groups[pool])):
            result[pool[part]] = fold_name(number)
    _fill_empty(result, pool, groups, folds)
    return pd.Series(result, index=records.index, name=SPLIT_COLUMN, dtype="str")


def _fill_empty(result: np.ndarray, pool: np.ndarray, groups: np.ndarray, folds: int) -> None:
    """Give a fold that got nothing (few, uneven groups) a group of the fold with most groups."""
    for number in range(folds):
        name = fold_name(number)
        if (result[pool] == name).any():
            continue
        owners = pd.DataFrame({"fold": result[pool], "group": groups[pool]}).drop_duplicates()
        largest = owners["fold"].value_counts().index[0]
        moved = owners["group"][owners["fold"] == largest].iloc[0]
        result[pool[groups[pool] == moved]] = name


def fold_name(number: int) -> str:
    """The split's name of a fold."""
    return f"fold{number}"


def fold_number(split: str) -> int | None:
    """The fold of a split's name, or None for the four splits."""
    return int(split.removeprefix("fold")) if re.fullmatch(FOLD, split) else None


def find_leaks(groups: np.ndarray, fixed: pd.Series) -> np.ndarray:
    """A mask of the images to leave out so that the given splits can stand.

    Where the splits that came with the data tear a group apart, its test images stay and the
    others go; without test images its val images stay.
    """
    given = fixed.to_numpy(object)
    leaks = np.zeros(len(given), bool)
    for kept, lesser in (("test", ("train", "val", "")), ("val", ("train", ""))):
        holders = np.unique(groups[(given == kept) & ~leaks])
        leaks |= np.isin(groups, holders) & np.isin(given, lesser) & (given != kept)
    return leaks
