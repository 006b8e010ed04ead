"""Evaluation of many classes, stage by stage: seconds, and the most memory so far.

Everything that ``tfskin-evaluate`` computes and draws of one split, from drawn predictions.

    python scripts/measure_many_classes.py --classes 1000 --images 5000
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        evaluate(Path(folder), options.classes, options.images, options.resamples)
        for path in sorted(Path(folder).iterdir()):
            print(f"{path.name:<24} {path.stat().st_size / 1e6:8.2f} MB")


def evaluate(folder: Path, classes: int, images: int, resamples: int) -> None:
    """Every stage on drawn predictions; what is written goes to ``folder``."""
    from tfskin.evaluation.binary import set_metrics
    from tfskin.evaluation.bootstrap import Bootstrap
    from tfskin.evaluation.calibration import calibrate, fit_isotonic
    from tfskin.evaluation.comparison import compare_predictions
    from tfskin.evaluation.curve_plots import plot_precision_recall, plot_roc
    from tfskin.evaluation.decision_fit import conformal_quantiles
    from tfskin.evaluation.intervals import metric_intervals
    from tfskin.evaluation.metrics import confusion_matrix
    from tfskin.evaluation.plots import plot_confusion_matrix, save_figure
    from tfskin.evaluation.predictions import Predictions
    from tfskin.evaluation.report import Plot, ReportContent, Section, write_report

    random = np.random.default_rng(0)
    names = [f"diagnosis number {c}" for c in range(classes)]
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, images - classes)])
    logits = random.normal(size=(images, classes)) + 4 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    groups = random.integers(0, images * 3 // 4, images)
    one = Predictions.of(labels, probabilities, names, groups=groups)
    other = Predictions.of(labels, probabilities[:, ::-1].copy(), names, groups=groups)
    bootstrap = Bootstrap(resamples=resamples)

    found = timed("intervals", lambda: metric_intervals(one, bootstrap))
    matrix = confusion_matrix(labels, one.chosen, classes)
    maps = timed("isotonic", lambda: fit_isotonic(labels, probabilities, names))
    timed("calibrate", lambda: calibrate(probabilities, maps, names))
    sets = 1 - probabilities <= conformal_quantiles(labels, probabilities, coverage=0.9)
    timed("prediction sets", lambda: set_metrics(one, bootstrap, sets))
    timed("comparison", lambda: compare_predictions({"a": one, "b": other}, bootstrap))
    drawings: dict[str, Callable[[], Any]] = {
        "confusion": lambda: plot_confusion_matrix(matrix, names),
        "roc": lambda: plot_roc(one, metrics=found),
        "precision_recall": lambda: plot_precision_recall(one, metrics=found),
    }
    plots = []
    for name, draw in drawings.items():
        figure = timed(name, draw)
        timed(f"{name}.png", partial(save_figure, figure, folder / f"{name}.png"))
        plots.append(Plot(heading=name, figure=figure, alt=name))
    content = ReportContent(
        title="many classes", sections=[Section(heading="Classes", blocks=plots)]
    )
    timed("report", lambda: write_report(folder / "report.html", content=content))
    (folder / "metrics.json").write_text(json.dumps({"splits": {"test": found}}, indent=2))


def timed(name: str, work: Callable[[], Any]) -> Any:
    """What ``work`` returns; a line says how long it took and the most memory until then."""
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{name:<24} {seconds:8.1f} s {most:8.2f} GB", flush=True)
    return result


if __name__ == "__main__":
    main()
