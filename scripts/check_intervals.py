"""How often the bootstrap intervals hold the truth, by simulation.

    python scripts/check_intervals.py --data-sets 1000

Data sets are drawn from a model whose true figures are known from 400,000 images: three classes of
60, 25 and 15 % of the lesions, one to three images a lesion, and a lesion's images easy or hard
together. A 95 % interval should hold the truth in 93 to 97 % of the data sets.
"""

import argparse
import time

import numpy as np

from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import compute_metrics

NAMES = ["nevus", "melanoma", "carcinoma"]
SHARES = (0.6, 0.25, 0.15)
FIGURES: tuple[str, ...] = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "macro_auc",
    "macro_average_precision",
)
FIGURES += ("macro_partial_auc", "kappa", "mcc", "top2_accuracy", "log_loss", "brier")
CLASS_FIGURES = ("recall", "specificity", "precision", "auc", "average_precision", "partial_auc")


def draw(random: np.random.Generator, lesions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and lesions of a data set with a fixed mix of classes."""
    of_lesion = np.repeat(np.arange(3), np.round(np.multiply(SHARES, lesions)).astype(int))
    images = random.integers(1, 4, len(of_lesion))
    lesion = np.repeat(np.arange(len(of_lesion)), images)
    labels = of_lesion[lesion]
    shared = random.normal(0, 1.0, (len(of_lesion), 3))[lesion]
    logits = 1.6 * np.eye(3)[labels] + shared + random.normal(0, 0.7, (len(lesion), 3))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return labels, powers / powers.sum(axis=1, keepdims=True), lesion


def coverage(*, data_sets: int, lesions: int, resamples: int, seed: int = 0) -> dict[str, float]:
    """Figure -> the share of data sets whose 95 % interval holds the true figure."""
    random = np.random.default_rng(seed)
    labels, probabilities, _ = draw(random, 200_000)
    truth = flatten(compute_metrics(labels, probabilities, NAMES))
    held = dict.fromkeys(truth, 0)
    for number in range(data_sets):
        labels, probabilities, lesion = draw(random, lesions)
        found = flatten(
            bootstrap_intervals(
                labels, probabilities, lesion, NAMES, resamples=resamples, seed=number
            )
        )
        for name, entry in found.items():
            held[name] += entry["low"] <= truth[name] <= entry["high"]
    return {name: count / data_sets for name, count in held.items()}


def flatten(figures: dict) -> dict:
    """The figures under test, those of the melanomas under the name of the class."""
    values = {name: figures[name] for name in FIGURES}
    melanoma = figures["per_class"]["melanoma"]
    return values | {f"melanoma {name}": melanoma[name] for name in CLASS_FIGURES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-sets", type=int, default=1000)
    parser.add_argument("--lesions", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.monotonic()
    found = coverage(**vars(options))
    for name, share in found.items():
        print(f"{name:28} {share:.3f}{'' if 0.93 <= share <= 0.97 else '   <- outside'}")
    print(f"{options.data_sets} data sets in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
