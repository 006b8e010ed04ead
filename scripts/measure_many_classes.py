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
    from tfskin.evaluation.binary import set_figures
    from tfskin.evaluation.calibration import calibrate, fit_isotonic
    from tfskin.evaluation.comparison import compare_predictions
    from tfskin.evaluation.curve_plots import plot_precision_recall
    from tfskin.evaluation.decisions import conformal_quantiles, prediction_sets
    from tfskin.evaluation.intervals import bootstrap_intervals
    from tfskin.evaluation.metrics import confusion_matrix
    from tfskin.evaluation.plots import plot_confusion_matrix, plot_roc, save_figure
    from tfskin.evaluation.report import Plot, ReportContent, write_report
    from tfskin.evaluation.report_sections import class_section

    random = np.random.default_rng(0)
    names = [f"diagnosis number {c}" for c in range(classes)]
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, images - classes)])
    logits = random.normal(size=(images, classes)) + 4 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    groups = random.integers(0, images * 3 // 4, images)

    figures = timed(
        "intervals",
        lambda: bootstrap_intervals(labels, probabilities, groups, names, resamples=resamples),
    )
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), classes)
    maps = timed("isotonic", lambda: fit_isotonic(labels, probabilities, names))
    timed("calibrate", lambda: calibrate(probabilities, maps, names))
    sets = prediction_sets(probabilities, conformal_quantiles(labels, probabilities, coverage=0.9))
    timed(
        "prediction sets",
        lambda: set_figures(labels, sets, groups, names, resamples=resamples, confidence=0.95),
    )
    other = probabilities[:, ::-1].copy()
    timed(
        "comparison",
        lambda: compare_predictions(
            labels, {"a": probabilities, "b": other}, groups, resamples=resamples
        ),
    )
    drawings = {
        "confusion": lambda: plot_confusion_matrix(matrix, names),
        "roc": lambda: plot_roc(labels, probabilities, names, figures=figures),
        "precision_recall": lambda: plot_precision_recall(
            labels, probabilities, names, figures=figures
        ),
    }
    plots = []
    for name, draw in drawings.items():
        figure = timed(name, draw)
        timed(f"{name}.png", partial(save_figure, figure, folder / f"{name}.png"))
        plots.append(Plot(heading=name, figure=figure, alt=name))
    metrics = {"headline": "test", "splits": {"test": figures}}
    section = class_section(metrics, plots)
    content = ReportContent(title="many classes", sections=[section])
    timed("report", lambda: write_report(folder / "report.html", content=content))
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2))


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
