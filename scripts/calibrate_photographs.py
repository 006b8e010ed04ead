"""The weights of ``tfskin.datasets.photographs.probability``, fitted to lesions that are known.

Example: python scripts/calibrate_photographs.py HAM10000/images HAM10000/HAM10000_metadata.csv \
    links.csv

``links.csv`` is what ``measure_photographs.py --links`` wrote: every aligned pair with its
evidence. Logistic regression of "one lesion id" in five folds over lesions. Some pairs of two ids
are one lesion nevertheless: those that the other folds hold for 90 % certain are left out of the
next fit; they stay in what is counted.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from measure_photographs import pair_lesions, read_table
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from tfskin.datasets.photographs.probability import MAX_INLIERS

ROUNDS = 3
EDGES = (0.05, 0.2, 0.5, 0.8, 0.95)


def fit(evidence: np.ndarray, same: np.ndarray) -> LogisticRegression:
    """A regression that is hardly held back."""
    return LogisticRegression(C=10, max_iter=3000).fit(evidence, same)


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="JPEG files named by image id, anywhere below")
    parser.add_argument("metadata", type=Path, help="CSV with image_id and lesion_id")
    parser.add_argument("links", type=Path, help="CSV of measure_photographs.py --links")
    arguments = parser.parse_args()
    table, links = (
        read_table(arguments.folder, arguments.metadata, None),
        pd.read_csv(arguments.links),
    )
    links = links[~links["mirrored"]]
    lesions = table["lesion_id"].to_numpy(object)
    same = lesions[links["first"]] == lesions[links["second"]]
    folds = pd.factorize(lesions[links["first"]])[0]
    evidence = np.stack(
        [np.log1p(np.minimum(links["inliers"], MAX_INLIERS)), links["correlation"]], axis=1
    )
    kept, probability = np.ones(len(links), bool), np.zeros(len(links))
    for _ in range(ROUNDS):
        for train, test in GroupKFold(5).split(evidence, same, folds):
            train = train[kept[train]]
            model = fit(evidence[train], same[train])
            probability[test] = model.predict_proba(evidence[test])[:, 1]
        kept = same | (probability < 0.9)
    model = fit(evidence[kept], same[kept])
    print(
        f"log(1 + inliers) {model.coef_[0][0]:.2f}, correlation {model.coef_[0][1]:.2f}, "
        f"constant {model.intercept_[0]:.2f}; {len(links)} links, {same.sum()} of one lesion id, "
        f"{(~kept).sum()} left out"
    )
    pairs = len(pair_lesions(table["lesion_id"]))
    bins = np.digitize(probability, EDGES)
    for place, (low, high) in enumerate(zip((0, *EDGES), (*EDGES, 1), strict=True)):
        inside = bins == place
        print(
            f"{low:4} to {high:4}: {inside.sum():5} links, said {probability[inside].mean():6.1%}, "
            f"of one lesion id {same[inside].mean():6.1%}"
        )
    for threshold in (0.1, 0.5, 0.9, 0.95, 0.99):
        above = probability >= threshold
        print(
            f"{threshold:4}: {(above & same).sum() / pairs:6.1%} of the pairs of one lesion, "
            f"{(above & ~same).sum()} links across ids"
        )


if __name__ == "__main__":
    main()
