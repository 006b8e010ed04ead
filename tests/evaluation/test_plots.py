"""Figures show what they were given, touch no global state, and are written whole."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tfskin.evaluation.curve_plots import plot_precision_recall, plot_roc
from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import compute_metrics
from tfskin.evaluation.plots import (
    format_metric,
    plot_confusion_matrix,
    plot_curves,
    save_figure,
)
from tfskin.evaluation.predictions import Predictions


def predictions(classes, images=90):
    random = np.random.default_rng(0)
    labels = np.arange(images) % classes
    probabilities = random.dirichlet(np.ones(classes), images)
    return labels, probabilities, [f"diagnosis_number_{c}" for c in range(classes)]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("classes", [2, 9])
def test_confusion_matrix_shows_every_count(classes):
    matrix = np.arange(classes**2).reshape(classes, classes)
    figure = plot_confusion_matrix(matrix, predictions(classes)[2])
    assert [int(text.split("\n")[0]) for text in texts(figure)] == list(range(classes**2))
    axes = figure.axes[0]
    assert axes.get_ylabel() == "True class"
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows[1].endswith(f"n = {matrix[1].sum()}")


def test_confusion_matrix_does_not_round_a_few_away():
    figure = plot_confusion_matrix([[9999, 1], [0, 0]], ["nevus", "melanoma"])
    assert texts(figure) == ["9,999\n>99%", "1\n<1%", "0", "0"]


def test_confusion_matrix_of_another_size_is_refused():
    with pytest.raises(ValueError, match="3 class names"):
        plot_confusion_matrix(np.eye(2), ["a", "b", "c"])


@pytest.mark.parametrize("classes", [2, 9])
def test_roc_names_each_class_with_its_area_and_interval(classes):
    labels, probabilities, names = predictions(classes)
    intervals = bootstrap_intervals(labels, probabilities, np.arange(90), names, resamples=50)
    figure = plot_roc(Predictions.of(labels, probabilities, names), metrics=intervals)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(legend) == classes
    for name, text in zip(names, legend, strict=True):
        assert text.endswith(format_metric(intervals["per_class"][name]["auc"]))
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines[1:]}
    assert len(styles) == classes


def test_roc_says_when_a_class_has_no_curve():
    labels, probabilities, names = predictions(3)
    figure = plot_roc(Predictions.of(np.minimum(labels, 1), probabilities, names))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "no AUC" in legend[2]
    assert np.size(figure.axes[0].lines[3].get_xdata()) == 0


def test_class_names_are_not_formulas(tmp_path: Path):
    figure = plot_confusion_matrix(np.eye(2), ["$\\frac$", "a_b"])
    save_figure(figure, tmp_path / "odd.png")
    assert (tmp_path / "odd.png").stat().st_size > 0


def history(epochs):
    rising = np.linspace(0.5, 0.9, epochs)
    return pd.DataFrame(
        {
            "epoch": np.arange(1, epochs + 1),
            "loss": 1 - rising,
            "val_loss": 1.1 - rising,
            "auc": rising,
            "val_auc": [None, *rising[1:]],
            "learning_rate": 0.001,
        }
    )


@pytest.mark.parametrize("epochs", [1, 2, 40])
def test_curves_draw_a_panel_for_what_is_there(epochs, tmp_path: Path):
    figure = plot_curves(history(epochs))
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_visible()}
    assert set(panels) == {"Loss", "Macro AUC", "Learning rate"}
    assert [line.get_label() for line in panels["Loss"].lines] == ["train", "val"]
    drawn = np.asarray(panels["Loss"].lines[1].get_ydata())
    np.testing.assert_allclose(drawn, history(epochs)["val_loss"])
    save_figure(figure, tmp_path / "curves.png")


def test_curves_without_columns_are_refused():
    with pytest.raises(ValueError, match="no training curves"):
        plot_curves(pd.DataFrame({"epoch": [1]}))
    with pytest.raises(ValueError, match="no training curves"):
        plot_curves(history(3)[:0])


def test_saving_twice_gives_the_same_bytes_and_leaves_nothing_else(tmp_path: Path):
    for suffix in (".svg", ".png"):
        files = [tmp_path / f"{n}{suffix}" for n in range(2)]
        for file in files:
            save_figure(plot_curves(history(3)), file)
        assert files[0].read_bytes() == files[1].read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_pyplot_knows_of_no_figure():
    plot_curves(history(3))
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (None, "–"),
        (0.91249, "0.912"),
        ({"value": 0.9, "low": 0.85, "high": 1.0}, "0.900 (0.850–1.000)"),
        ({"value": 0.9, "low": None, "high": None}, "0.900"),
        ({"value": None, "low": None, "high": None}, "–"),
    ],
)
def test_figures_as_text(figure, text):
    assert format_metric(figure) == text


@pytest.mark.parametrize("classes", [41, 300])
def test_a_confusion_matrix_of_many_classes_shows_shades_alone(tmp_path: Path, classes):
    matrix = np.full((classes, classes), 3)
    figure = plot_confusion_matrix(matrix, [f"class {n}" for n in range(classes)])
    assert texts(figure) == []
    assert max(figure.get_size_inches()) < 12
    assert str(classes - 1) in figure.axes[0].get_xlabel()
    save_figure(figure, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert max(image.size) < 2000


@pytest.mark.parametrize(
    ("plot", "key"), [(plot_roc, "auc"), (plot_precision_recall, "average_precision")]
)
def test_curves_of_many_classes_are_those_of_the_lowest(plot, key):
    given = Predictions.of(*predictions(50, 200))
    names = given.class_names
    metrics = compute_metrics(given.labels, given.probabilities, names)
    values = {name: entry[key] for name, entry in metrics["per_class"].items()}
    figure = plot(given, metrics=metrics)
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    shown = [entry.replace("\n", "").split(":")[0] for entry in entries]
    lowest = sorted(names, key=values.__getitem__)[:20]
    assert shown == [name.replace("_", " ") for name in names if name in lowest]
    assert "the 20 lowest of 50" in figure.legends[0].get_title().get_text()
    assert max(figure.get_size_inches()) < 12


def test_no_plot_is_larger_than_can_be_looked_at(tmp_path: Path):
    save_figure(Figure(figsize=(90, 3)), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (6000, 200)
