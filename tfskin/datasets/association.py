"""How much every artefact and metadata field says about the diagnosis."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tfskin.datasets.artefacts import DETECTORS

FIELDS = (
    *("sex", "site", "image_type", "fitzpatrick", "skin_tone"),
    *("clinic", "license", "source"),
)
STRONG = 0.3
"""From this Cramér's V on, a field is called out: a network could learn it in place of skin."""


def measure_associations(records: pd.DataFrame) -> pd.DataFrame:
    """Each field's association with the diagnosis: columns field, association, images, known.

    ``association`` is Cramér's V in [0, 1] (0: says nothing, 1: gives the diagnosis away) over
    the images that have both; age and image area are cut into five groups of equal size first.
    NaN where fewer than two values are known. ``images`` is how many have both. Rows are sorted,
    the strongest first.

    Args:
        records: with the columns of a record, of the artefact detectors, and width and height
            where known.

    Reference:
        Cramér, "Mathematical Methods of Statistics" (1946), section 21.9.
    """
    labelled = records[records["diagnosis"] != ""]
    values = {name: labelled[name].astype("str") for name in FIELDS if name in labelled}
    for name in DETECTORS:
        if name in labelled:
            values[name] = labelled[name].map({0: "no", 1: "yes"}).fillna("")
    values["age"] = _cut(labelled["age"])
    if "width" in labelled:
        values["image size"] = _cut(labelled["width"] * labelled["height"])
    rows = []
    for name, words in values.items():
        known = (words != "").to_numpy()
        strength = cramers_v(labelled["diagnosis"][known], words[known])
        rows.append({"field": name, "association": strength, "images": int(known.sum())})
    table = pd.DataFrame(rows)
    return table.sort_values("association", ascending=False, ignore_index=True)


def cramers_v(first: pd.Series, second: pd.Series) -> float:
    """Cramér's V of two columns of words, or NaN where one of them has a single value."""
    from scipy.stats.contingency import association

    counts = pd.crosstab(first.to_numpy(object), second.to_numpy(object)).to_numpy()
    if min(counts.shape, default=0) < 2:
        return float("nan")
    return float(association(counts, method="cramer"))


def count_artefacts(records: pd.DataFrame) -> pd.DataFrame:
    """How many images of each diagnosis have each artefact.

    Columns diagnosis, images, and one a detector; images without a known flag count as not
    having it. The last row, "all", is the sum.
    """
    flags = [name for name in DETECTORS if name in records]
    found = (records[flags] == 1).assign(diagnosis=records["diagnosis"].replace("", "(none)"))
    table = found.groupby("diagnosis", sort=True)[flags].sum()
    table.insert(0, "images", found["diagnosis"].value_counts())
    table.loc["all"] = table.sum()
    return table.reset_index()


def _cut(numbers: pd.Series) -> pd.Series:
    known = numbers >= 0
    result = pd.Series("", index=numbers.index)
    if numbers[known].nunique() < 2:
        result[known] = "one value"
        return result
    groups = pd.qcut(numbers[known], 5, duplicates="drop")
    result[known] = groups.astype("str")
    return result if result[known].nunique() > 1 else _split_at_median(numbers, known)


def _split_at_median(numbers: pd.Series, known: pd.Series) -> pd.Series:
    high = numbers > float(np.median(numbers[known]))
    return pd.Series(np.where(known, np.where(high, "high", "low"), ""), index=numbers.index)
