"""The organisers' scores of random submissions, which the tests hold tfskin's own against.

Needs the package isic-challenge-scoring, which needs pandas below 3, so in an environment of its
own:

    pip install isic-challenge-scoring==5.6.0 'pandas<3'
    python scripts/golden_challenge_scores.py \
        tests/evaluation/golden/isic_challenge_scoring_5.6.0.json
    python scripts/golden_challenge_scores.py --truth T.csv --submission S.csv

The second form prints the official score of the files that ``tfskin-evaluate --challenge`` writes.
"""

import argparse
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CLASSES = {
    "2018": ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"],
    "2019": ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"],
}
# images, seed, decimals: rounding makes ties
CASES = {"random": (200, 0, None), "ties": (150, 1, 1), "half": (120, 2, 0)}


def draw(
    names: list[str], images: int, seed: int, decimals: int | None
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    size = len(names)
    labels = np.concatenate([np.arange(size), random.integers(0, size, images - size)])
    values = random.dirichlet(np.ones(size), images) + 0.5 * np.eye(size)[labels]
    values /= values.sum(axis=1, keepdims=True)
    return labels, values if decimals is None else np.round(values, decimals)


def official(truth: str, submission: str) -> Any:
    from isic_challenge_scoring.classification import (  # type: ignore[import-not-found]
        ClassificationMetric,
        ClassificationScore,
    )

    warnings.simplefilter("ignore")
    metric = ClassificationMetric.BALANCED_ACCURACY
    return ClassificationScore.from_stream(io.StringIO(truth), io.StringIO(submission), metric)


def to_csv(names: list[str], values: np.ndarray) -> str:
    table = pd.DataFrame(values, columns=names)
    table.insert(0, "image", [f"ISIC_{number:07d}" for number in range(len(table))])
    return table.to_csv(index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, nargs="?")
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--submission", type=Path)
    options = parser.parse_args()
    if options.truth is not None:
        score = official(options.truth.read_text(), options.submission.read_text())
        print(repr(score.overall))
        return
    found = {}
    for year, names in CLASSES.items():
        for case, (images, seed, decimals) in CASES.items():
            labels, values = draw(names, images, seed, decimals)
            score = official(to_csv(names, np.eye(len(names))[labels]), to_csv(names, values))
            found[f"{year} {case}"] = {
                "images": images,
                "seed": seed,
                "decimals": decimals,
                "overall": score.overall,
                "per_category": score.per_category.to_dict(orient="index"),
            }
    options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
