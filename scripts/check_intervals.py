"""How often the bootstrap intervals hold the truth, by simulation.

    python scripts/check_intervals.py --data-sets 1000

Data sets are drawn from a model whose true figures are known from two million images: three
classes of 60, 25 and 15 % of the lesions, one to three images a lesion, and a lesion's images easy
or hard together. A 95 % interval should hold the truth in 93 to 97 % of the data sets.

    python scripts/check_intervals.py --sharpness 2      # a model that is too sure of itself
"""

import argparse
import time

import numpy as np

from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import CLASS_METRICS, SUMMARY_METRICS, compute_metrics

NAMES = ["nevus", "melanoma", "carcinoma"]
SHARES = (0.6, 0.25, 0.15)
PART = 50_000


def draw(
    random: np.random.Generator, lesions: int, sharpness: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and lesions of a data set with a fixed mix of classes."""
    of_lesion = np.repeat(np.arange(3), np.round(np.multiply(SHARES, lesions)).astype(int))
    images = random.integers(1, 4, len(of_lesion))
    lesion = np.repeat(np.arange(len(of_lesion)), images)
    labels = of_lesion[lesion]
    shared = random.normal(0, 1.0, (len(of_lesion), 3))[lesion]
    logits = 1.6 * np.eye(3)[labels] + shared + random.normal(0, 0.7, (len(lesion), 3))
    logits *= sharpness
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return labels, powers / powers.sum(axis=1, keepdims=True), lesion


def coverage(
    *,
    data_sets: int,
    lesions: int,
    resamples: int,
    seed: int = 0,
    sharpness: float = 1.0,
    truth_lesions: int = 1_000_000,
) -> dict[str, float]:
    """Figure -> the share of data sets whose 95 % interval holds the true figure."""
    random = np.random.default_rng(seed)
    truth = true_figures(random, truth_lesions, sharpness)
    held = dict.fromkeys(truth, 0)
    for number in range(data_sets):
        labels, probabilities, lesion = draw(random, lesions, sharpness)
        found = flatten(
            bootstrap_intervals(
                labels, probabilities, lesion, NAMES, resamples=resamples, seed=number
            )
        )
        for name, entry in found.items():
            held[name] += entry["low"] <= truth[name] <= entry["high"]
    return {name: count / data_sets for name, count in held.items()}


def true_figures(
    random: np.random.Generator, lesions: int, sharpness: float = 1.0
) -> dict[str, float]:
    """The figures of very many lesions, as means over parts of 50,000."""
    parts = []
    for _ in range(max(1, lesions // PART)):
        labels, probabilities, _ = draw(random, PART, sharpness)
        parts.append(flatten(compute_metrics(labels, probabilities, NAMES)))
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def flatten(figures: dict) -> dict:
    """Every figure; three classes have no top 3."""
    values = {name: figures[name] for name in SUMMARY_METRICS if name != "top3_accuracy"}
    for name in NAMES:
        own = figures["per_class"][name]
        values |= {f"{name} {figure}": own[figure] for figure in CLASS_METRICS}
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-sets", type=int, default=1000)
    parser.add_argument("--lesions", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sharpness", type=float, default=1.0, help="all logits times this")
    options = parser.parse_args()
    start = time.monotonic()
    found = coverage(**vars(options))
    for name, share in found.items():
        print(f"{name:28} {share:.3f}{'' if 0.93 <= share <= 0.97 else '   <- outside'}")
    print(f"{options.data_sets} data sets in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
