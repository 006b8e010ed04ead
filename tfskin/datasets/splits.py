"""The four splits, which keep groups together."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from tfskin.datasets.options import Fractions
from tfskin.datasets.splits_file import SPLITS
from tfskin.errors import UserError, nearest_hint

# Cut and served in this order: a class of two groups is in train and test, of three in val too.
_CUT = ("test", "val", "calibration")


def make_splits(
    records: pd.DataFrame,
    groups: np.ndarray,
    *,
    fractions: Fractions | None = None,
    seed: int = 0,
    fixed: pd.Series | None = None,
) -> pd.Series:
    """The split of each record: str, named "split", indexed as the records.

    Whole groups are dealt out, stratified by diagnosis with scikit-learn's
    ``StratifiedGroupKFold``: each split is one fold (or a few) of as many as its fraction needs.
    With many small groups every split's share, and the share of every class with many groups, is
    within about one hundredth of its fraction; large groups and rare classes make it coarser.
    A class of n groups is in train and in the first n - 1 of test, val and calibration, unless
    its groups are needed there for other classes, or a split would be left empty.

    With ``fixed``, val, calibration and test stay as they are given. Those of them that no image
    is given to are cut from the rest (train and images without a split) by their fraction
    relative to train's. An image without a split follows the rest of its group.

    Args:
        records: a frame with columns image_id and diagnosis.
        groups: int (N,), as ``group_records`` returns it.
        fractions: the default is 70 / 10 / 8 / 12 %.
        seed: the same seed, records and groups give the same splits.
        fixed: one of :data:`SPLITS` or "" for each record, in the records' order.

    Raises:
        UserError: too few groups for the splits, an unknown name in ``fixed``, or a group that
            ``fixed`` puts into two splits (the message names images of both).
    """
    fractions = fractions or Fractions()
    given = np.full(len(records), "", object) if fixed is None else fixed.to_numpy(object)
    image_ids = records["image_id"].to_numpy(object)
    _check_names(given, image_ids)
    groups = pd.factorize(groups)[0]
    given = _spread_over_groups(given, groups, image_ids)
    shares = {split: share for split, share in asdict(fractions).items() if share > 0}
    cuts = [split for split in _CUT if split in shares and not np.any(given == split)]
    pool = np.flatnonzero(np.isin(given, ("", "train")))
    result = given.copy()
    result[pool] = "train"
    if cuts or len(pool) == 0:
        _check_enough(groups[pool], cuts)
        strata = pd.factorize(records["diagnosis"].to_numpy(object)[pool], sort=True)[0]
        weights = {split: shares[split] for split in ["train", *cuts]}
        result[pool] = _deal_groups(groups[pool], strata, weights, seed)
    return pd.Series(result, index=records.index, name="split", dtype="str")


def check_disjoint(groups: np.ndarray, split: pd.Series, image_ids: Sequence[str]) -> None:
    """Nothing, when no group is in two splits.

    Args:
        groups: int (N,).
        split: the split of each image.
        image_ids: of each image; named in the error.

    Raises:
        UserError: a group is in two splits; the message names images of it.
    """
    names = np.asarray(split, dtype=object)
    frame = pd.DataFrame({"group": np.asarray(groups), "split": names, "id": list(image_ids)})
    torn = _torn_groups(frame)
    if torn:
        raise UserError(
            f"{len(torn)} groups that ids, near duplicates or photographs link are in two "
            f"splits, such as {torn[0]}; put each group into one split"
        )


def _check_names(given: np.ndarray, image_ids: np.ndarray) -> None:
    for name, image_id in zip(given, image_ids, strict=True):
        if name != "" and name not in SPLITS:
            hint = nearest_hint(str(name), list(SPLITS))
            raise UserError(
                f"image '{image_id}': unknown split '{name}'{hint}; "
                f"it is one of {', '.join(SPLITS)}, or empty"
            )


def _spread_over_groups(given: np.ndarray, groups: np.ndarray, image_ids: np.ndarray) -> np.ndarray:
    """``given``, with the blanks of a group filled by what the rest of the group has."""
    frame = pd.DataFrame({"group": groups, "split": given, "id": image_ids})
    frame = frame[frame["split"] != ""]
    torn = _torn_groups(frame)
    if torn:
        raise UserError(
            f"the splits given by the source tear {len(torn)} groups of images of one lesion, "
            f"patient or near duplicate apart, such as {torn[0]}; move each group into one split, "
            "or give --drop-leaks to leave out what is not test; tfskin-audit shows what links "
            "them, and with --no-photographs only ids and near duplicates count"
        )
    split_of_group = np.full(groups.max(initial=-1) + 1, "", object)
    split_of_group[frame["group"]] = frame["split"]
    return split_of_group[groups]


def _torn_groups(frame: pd.DataFrame) -> list[str]:
    """For each group in more than one split: an image of each of its splits, as a phrase."""
    first = frame.drop_duplicates(["group", "split"])
    torn = first[first["group"].duplicated(keep=False)]
    return [
        ", ".join(f"'{row.id}' ({row.split})" for row in rows.itertuples())
        for _, rows in torn.groupby("group", sort=False)
    ]


def _check_enough(groups: np.ndarray, cuts: list[str]) -> None:
    there, needed = len(np.unique(groups)), len(cuts) + 1
    if there < needed:
        raise UserError(
            f"too few images to split: {there} groups (lesions, patients or near duplicates) for "
            f"{needed} splits ({', '.join(['train', *cuts])}); add images, or ask for fewer splits"
        )


def _deal_groups(
    groups: np.ndarray, strata: np.ndarray, weights: dict[str, float], seed: int
) -> np.ndarray:
    """The split of each image: one group a class to train, then a cut from what is left each."""
    cuts = [split for split in weights if split != "train"]
    result = np.full(len(groups), "train", object)
    free = ~_hold_for_train(groups, strata, len(cuts), seed)
    total = len(groups) / math.fsum(weights.values())
    for place, split in enumerate(cuts):
        rest = np.flatnonzero(free)
        taken = rest[
            _cut_fold(
                groups[rest],
                strata[rest],
                fraction=min(weights[split] * total / len(rest), 1.0),
                leave=len(cuts) - place - 1,
                seed=seed,
            )
        ]
        result[taken] = split
        free[taken] = False
    _serve_every_class(result, groups, strata, cuts, seed)
    return result


def _serve_every_class(
    result: np.ndarray, groups: np.ndarray, strata: np.ndarray, cuts: list[str], seed: int
) -> None:
    """Move a group of a class into each split where the class is due and missing, rarest first.

    A class of n groups is due in train and in the first n - 1 of ``cuts``. The smallest group goes
    (chance decides between equals), from train before the last of the cuts, and none that would
    leave its split empty or without a class that is due there.
    """
    groups = pd.factorize(groups)[0]
    names = ["train", *cuts]
    place = np.zeros(groups.max() + 1, np.int64)
    place[groups] = [names.index(name) for name in result]
    holds = np.zeros((len(place), strata.max() + 1), bool)
    holds[groups, strata] = True
    rarity, sizes = holds.sum(axis=0), np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(place))
    due = np.arange(len(names))[:, None] < rarity
    counts = np.stack([holds[place == split].sum(axis=0) for split in range(len(names))])
    for stratum in np.argsort(rarity, kind="stable"):
        for split in range(len(names)):
            if not due[split, stratum] or counts[split, stratum]:
                continue
            lone = np.bincount(place, minlength=len(names)) < 2
            needed = (holds & (due & (counts < 2))[place]).any(axis=1) | lone[place]
            found = np.flatnonzero(holds[:, stratum] & ~needed)
            if len(found) == 0:
                continue
            later = np.where(place[found] == 0, len(names), place[found])
            moved = found[np.lexsort((order[found], sizes[found], -later))[0]]
            counts[place[moved]] -= holds[moved]
            counts[split] += holds[moved]
            place[moved] = split
    result[:] = np.array(names, object)[place[groups]]


def _hold_for_train(groups: np.ndarray, strata: np.ndarray, needed: int, seed: int) -> np.ndarray:
    """A mask of one group a class, the rarest class first, as long as ``needed`` groups are left.

    The smallest group of a class is taken (chance decides between equals), at least one in all.
    """
    order = np.random.default_rng(seed).permutation(groups.max() + 1)
    pairs = pd.DataFrame({"group": groups, "stratum": strata}).value_counts(sort=False)
    sizes = np.bincount(groups)
    table = pairs.reset_index()
    table["size"] = sizes[table["group"]]
    table["order"] = order[table["group"]]
    table["rarity"] = table.groupby("stratum")["group"].transform("size")
    table = table.sort_values(["rarity", "stratum", "size", "order"])
    held: set[int] = set()
    spare = len(np.unique(groups)) - needed
    for _, rows in table.groupby("stratum", sort=False):
        if len(held) < spare and held.isdisjoint(rows["group"]):
            held.add(int(rows["group"].iloc[0]))
    return np.isin(groups, list(held))


def _cut_fold(
    groups: np.ndarray, strata: np.ndarray, *, fraction: float, leave: int, seed: int
) -> np.ndarray:
    """Indices of about ``fraction`` of the images, at least one group, leaving ``leave`` groups."""
    from sklearn.model_selection import StratifiedGroupKFold

    there = len(np.unique(groups))
    folds, wanted = _count_folds(fraction, there, at_least=leave + 1)
    wanted = max(1, min(wanted, folds - leave))
    if folds == 1:
        return np.arange(len(groups))
    if np.bincount(strata).max() < folds:  # scikit-learn refuses: nothing is left to stratify
        strata = np.zeros_like(strata)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        parts = [part for _, part in splitter.split(groups, strata, groups)]
        if not all(map(len, parts)):  # a few large groups of rare classes can leave a fold empty
            strata = np.zeros_like(strata)
            parts = [part for _, part in splitter.split(groups, strata, groups)]
    chosen = _choose_folds([strata[part] for part in parts], wanted)
    return np.concatenate([parts[index] for index in chosen])


def _count_folds(fraction: float, groups: int, *, at_least: int) -> tuple[int, int]:
    """``(folds, how many of them)`` with the fewest folds that come close to ``fraction``.

    Fewer than ``at_least`` folds would not leave a group for each later split: one fold may hold
    several groups.
    """
    tolerance = min(0.005, fraction / 20) + 1e-9
    limit = min(groups, 100)
    for folds in range(max(2, at_least), limit + 1):
        if abs(round(fraction * folds) / folds - fraction) <= tolerance:
            return folds, round(fraction * folds)
    return limit, round(fraction * limit)


def _choose_folds(strata: list[np.ndarray], wanted: int) -> list[int]:
    """The folds whose union comes nearest to its share of every class, chosen one by one."""
    classes = max(int(part.max()) for part in strata) + 1
    counts = np.array([np.bincount(part, minlength=classes) for part in strata])
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    chosen: list[int] = []
    union = np.zeros(classes)
    for step in range(1, wanted + 1):
        deviation = np.abs(union + shares - step / len(strata)).sum(axis=1)
        deviation[chosen] = np.inf
        best = int(deviation.argmin())
        chosen.append(best)
        union += shares[best]
    return chosen
