"""Intervals of every figure by sums of groups, beside a loop that computes each resample anew.

    python scripts/bench_intervals.py --images 10000 --resamples 2000

The loop draws the same resamples and computes the same figures (``compute_metrics``, which is
scikit-learn's where scikit-learn has them); it runs for some resamples only and is scaled up.
"""

import argparse
import statistics
import time

import numpy as np

from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import compute_metrics


def draw(images: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and lesions; about 1.35 images a lesion, as in HAM10000."""
    random = np.random.default_rng(seed)
    labels = random.choice(
        classes, images, p=np.arange(1, classes + 1) / np.arange(classes + 1).sum()
    )
    powers = np.exp(random.normal(size=(images, classes)) + 1.5 * np.eye(classes)[labels])
    return labels, powers / powers.sum(axis=1, keepdims=True), random.integers(0, images, images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=7)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--looped", type=int, default=20, help="resamples that the loop computes")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    names = [f"class {number}" for number in range(options.classes)]
    labels, probabilities, groups = draw(options.images, options.classes, seed=0)
    resampling = Bootstrap(resamples=options.looped).plan(labels, groups)
    weights = np.concatenate(list(resampling.blocks()), axis=1)
    whole, looped = [], []
    for _ in range(options.repeats):
        start = time.process_time()
        bootstrap_intervals(labels, probabilities, groups, names, resamples=options.resamples)
        whole.append(time.process_time() - start)
        start = time.process_time()
        for column in weights.T:
            rows = np.repeat(np.arange(options.images), column[resampling.group_of].astype(int))
            compute_metrics(labels[rows], probabilities[rows], names)
        looped.append((time.process_time() - start) * options.resamples / options.looped)
    ours, plain = statistics.median(whole), statistics.median(looped)
    print(f"{options.resamples} resamples of {options.images} images, {options.classes} classes,")
    print(f"processor seconds, medians of {options.repeats}")
    print(f"bootstrap_intervals      {ours:8.1f}")
    print(f"a loop of compute_metrics{plain:8.1f}   {plain / ours:.0f}x")


if __name__ == "__main__":
    main()
