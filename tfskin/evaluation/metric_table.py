"""The table of all metrics: one row says what a metric is called, how it is computed and shown.

Whatever lists metrics (``metrics.json``, the tables of the report, of the terminal and of the model
card) takes its list from :data:`METRICS`, so a new metric is one new row, with its function above.
It is then in ``metrics.json`` and in the full tables of the report; the short tables elsewhere
show the few that :data:`SHOWN` names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np

from tfskin.evaluation.sums import Confusions, Floats, Ints, Ranked, ratio

ECE_BINS = 15
PARTIAL_FROM = 0.8
"""The sensitivity above which the partial AUC is taken."""

Of = Literal["summary", "class", "malignant", "point"]
Needs = Literal["confusion", "images", "bins", "ranking", "average", "calls"]


@dataclass(frozen=True)
class Metric:
    """One metric: its name, its heading and its function.

    Attributes:
        name: its key in ``metrics.json``.
        heading: above its column, or before its row.
        needs: what ``function`` is given, and what it returns for R weightings of N images:

            - ``confusion``: :class:`Confusions` -> (R,) of a summary, (R, C) of classes
            - ``images``: labels (N,) and probabilities (N, C) -> (N,) numbers, whose mean over
              images is the metric
            - ``bins``: (bins, R) the images right and the sum of confidence, in each bin of
              confidence -> (R,), which is divided by the number of images
            - ``ranking``: :class:`Ranked` -> (R,)
            - ``average``: no function; the mean of the class metric ``averages`` over the classes
              where that has a value
            - ``calls``: (N,) which images are positive, and which are called so -> two masks, the
              first within the second; the metric is the share of the first in the second
        function: see ``needs``.
        averages: the class metric that is averaged.
        lower_is_better: true of losses.
        highest: the highest value of a metric whose lowest is 0; None for any other metric.
        rests_on: whose number of groups decides how certain the metric is. Of a summary: all
            ``images``, or those of ``every class`` (averages always do); of a class: its own
            ``images``, those of the ``others``, or the ``rarer`` of these two, as a ranking does.
        tail: the share of the positives that a metric of a ranking rests on.
        same_for_two: of two classes, both have the same value.
        words: what a sentence calls it; the heading unless given.
        short: the heading of a narrow column on the terminal; ``words`` unless given.
    """

    name: str
    heading: str
    needs: Needs
    function: Callable[..., Any] | None = None
    _: KW_ONLY
    averages: str | None = None
    lower_is_better: bool = False
    highest: float | None = 1.0
    rests_on: Literal["images", "every class", "others", "rarer"] = "images"
    tail: float = 1.0
    same_for_two: bool = False
    words: str = ""
    short: str = ""

    def __post_init__(self) -> None:
        words = self.words or self.heading[0].lower() + self.heading[1:]
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "short", self.short or words)

    def compute(self, *given: Any) -> Any:
        """What ``function`` returns for what the metric needs."""
        if self.function is None:
            raise TypeError(f"{self.name}: is an average over classes and has no function")
        return self.function(*given)


def cohens_kappa(counts: Confusions) -> Floats:
    """(R,) agreement beyond chance."""
    chance = (counts.true * counts.chosen).sum(axis=1)
    return ratio(counts.hits.sum(axis=1) * counts.total - chance, counts.total**2 - chance)


def matthews(counts: Confusions) -> Floats:
    """(R,) Matthews' correlation for several classes (Gorodkin, Comput. Biol. Chem. 28, 2004)."""
    total, true, chosen = counts.total, counts.true, counts.chosen
    chance = (true * chosen).sum(axis=1)
    spread = (total**2 - (true**2).sum(axis=1)) * (total**2 - (chosen**2).sum(axis=1))
    return ratio(counts.hits.sum(axis=1) * total - chance, np.sqrt(np.maximum(spread, 0)))


def hit_share(counts: Confusions) -> Floats:
    """(R,) the share of images that are predicted to be of their class."""
    return ratio(counts.hits.sum(axis=1), counts.total)


def precisions(counts: Confusions) -> Floats:
    """(R, C) the share of the images called a class that are of it."""
    return ratio(counts.hits, counts.chosen)


def recalls(counts: Confusions) -> Floats:
    """(R, C) the share of the images of a class that are called so."""
    return ratio(counts.hits, counts.true)


def f1_scores(counts: Confusions) -> Floats:
    """(R, C) the harmonic mean of precision and recall."""
    return ratio(2 * counts.hits, counts.true + counts.chosen)


def specificities(counts: Confusions) -> Floats:
    """(R, C) the share of the images of other classes that are not called the class."""
    negatives = counts.total[:, None] - counts.true
    return ratio(negatives - counts.chosen + counts.hits, negatives)


def log_losses(labels: Ints, probabilities: Floats) -> Floats:
    """(N,) minus the natural logarithm of the true class's probability, of at least 2.2e-16."""
    own = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(own, np.finfo(np.float64).eps))


def brier_scores(labels: Ints, probabilities: Floats) -> Floats:
    """(N,) the sum of squared errors over classes, between 0 and 2."""
    return np.asarray(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1))


def among_first(count: int) -> Callable[[Ints, Floats], Floats]:
    """A function -> (N,) whether the true class is among the ``count`` most probable ones.

    Among equals the first comes first, as ``argmax`` has it. With no more classes than that, there
    is no value: NaN.
    """

    def found(labels: Ints, probabilities: Floats) -> Floats:
        size = probabilities.shape[1]
        if count >= size:
            return np.full(len(labels), np.nan)
        own = probabilities[np.arange(len(labels)), labels]
        before = (probabilities > own[:, None]).sum(axis=1) + (
            (probabilities == own[:, None]) & (np.arange(size) < labels[:, None])
        ).sum(axis=1)
        return np.asarray(before < count, float)

    return found


def roc_area(ranked: Ranked) -> Floats:
    """(R,) ``sum_p sum_n w_p w_n ([s_p > s_n] + [s_p = s_n] / 2) / (P N)``."""
    passed = ranked.negatives - ranked.alarms + ranked.ties / 2
    beaten = np.einsum("kr,kr->r", ranked.positives, passed)
    return ratio(beaten, ranked.reached[-1] * ranked.negatives)


def average_precision(ranked: Ranked) -> Floats:
    """(R,) ``sum (TP_k - TP_{k-1}) / P * TP_k / (TP_k + FP_k)`` over the levels k."""
    reached, called = ranked.reached, ranked.reached + ranked.alarms
    precision = np.divide(reached, called, out=np.zeros_like(called), where=called > 0)
    return ratio(
        np.einsum("kr,kr->r", ranked.positives, precision),
        np.where(ranked.negatives > 0, reached[-1], 0),
    )


def partial_roc_area(ranked: Ranked) -> Floats:
    """(R,) the area below the ROC curve and above the sensitivity 0.8, exact within ties.

    It lies between 0 and 0.2 (the metric of the ISIC challenge of 2024).
    """
    total = ranked.reached[-1]
    start = PARTIAL_FROM * total
    kept = int(np.argmax((ranked.reached > start).any(axis=1)))
    positives, reached = ranked.positives[kept:], ranked.reached[kept:]
    alarms, ties = ranked.alarms[kept:], ranked.ties[kept:]
    before = reached - positives
    low = np.clip(start, before, reached)
    width = reached - low
    middle = np.divide(
        (low + reached) / 2 - before, positives, out=np.zeros_like(width), where=positives > 0
    )
    passed = np.einsum("kr,kr->r", width, ranked.negatives - (alarms - ties + ties * middle))
    return ratio(passed, total * ranked.negatives)


def confidence_gap(right: Floats, confidence: Floats) -> Floats:
    """(R,) the gaps between (bins, R) images right and their summed confidence."""
    return np.asarray(np.abs(right - confidence).sum(axis=0))


LOSS: dict[str, Any] = {"lower_is_better": True, "highest": None}
AGREEMENT: dict[str, Any] = {"highest": None, "rests_on": "every class"}
PARTIAL: dict[str, Any] = {"highest": 1 - PARTIAL_FROM, "tail": 1 - PARTIAL_FROM}

METRICS: dict[Of, tuple[Metric, ...]] = {
    # All images of a split.
    "summary": (
        Metric("accuracy", "Accuracy", "confusion", hit_share),
        Metric(
            "balanced_accuracy",
            "Balanced accuracy",
            "average",
            averages="recall",
            short="balanced acc.",
        ),
        Metric("macro_f1", "Macro F1", "average", averages="f1"),
        Metric(
            "macro_auc",
            "Macro AUC",
            "average",
            averages="auc",
            words="macro one-vs-rest AUC",
            short="macro AUC",
        ),
        Metric(
            "macro_average_precision",
            "Macro average precision",
            "average",
            averages="average_precision",
        ),
        Metric(
            "macro_partial_auc", "Macro partial AUC", "average", averages="partial_auc", **PARTIAL
        ),
        Metric("kappa", "Cohen's kappa", "confusion", cohens_kappa, **AGREEMENT),
        Metric("mcc", "MCC", "confusion", matthews, **AGREEMENT),
        Metric("top2_accuracy", "Top-2 accuracy", "images", among_first(2)),
        Metric("top3_accuracy", "Top-3 accuracy", "images", among_first(3)),
        Metric("log_loss", "Log loss", "images", log_losses, words="log-loss", **LOSS),
        Metric("brier", "Brier score", "images", brier_scores, words="Brier score", **LOSS),
        Metric(
            "ece",
            "Calibration error",
            "bins",
            confidence_gap,
            words="expected calibration error",
            **LOSS,
        ),
    ),
    # A class against the rest.
    "class": (
        Metric("precision", "Precision", "confusion", precisions),
        Metric("recall", "Recall (sensitivity)", "confusion", recalls),
        Metric("specificity", "Specificity", "confusion", specificities, rests_on="others"),
        Metric("f1", "F1", "confusion", f1_scores),
        Metric("auc", "AUC", "ranking", roc_area, same_for_two=True),
        Metric("average_precision", "Average precision", "ranking", average_precision),
        Metric("partial_auc", "Partial AUC", "ranking", partial_roc_area, **PARTIAL),
    ),
    # Malignant against benign, where it stands beside the summary's metrics.
    "malignant": (Metric("malignant_auc", "Malignant AUC", "ranking", roc_area),),
    # An operating point: which images are malignant (p), and which are called so (c).
    "point": (
        Metric("sensitivity", "Sensitivity", "calls", lambda p, c: (p & c, p)),
        Metric("specificity", "Specificity", "calls", lambda p, c: (~p & ~c, ~p)),
        Metric("ppv", "PPV", "calls", lambda p, c: (p & c, c)),
        Metric("npv", "NPV", "calls", lambda p, c: (~p & ~c, ~c)),
        Metric("called", "Called malignant", "calls", lambda p, c: (c, np.ones_like(c))),
    ),
}

SHOWN: dict[str, tuple[str, ...]] = {
    "calibration": ("log_loss", "brier", "ece"),
    "reliance": ("accuracy", "balanced_accuracy", "macro_auc", "malignant_auc"),
    "subgroups": (
        *("accuracy", "balanced_accuracy", "macro_auc"),
        *("malignant_auc", "sensitivity", "specificity"),
    ),
    "variants": ("macro_auc", "accuracy", "balanced_accuracy", "log_loss"),
    "repeats": ("macro_auc", "balanced_accuracy", "accuracy", "macro_f1", "log_loss"),
    "model card": (
        *("macro_auc", "accuracy", "balanced_accuracy", "macro_f1"),
        *("log_loss", "brier", "ece"),
    ),
    "terminal": ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "log_loss"),
    "terminal pairs": (
        *("accuracy", "balanced_accuracy", "macro_f1", "macro_auc"),
        *("malignant_auc", "log_loss"),
    ),
    "terminal points": ("sensitivity", "specificity", "ppv", "npv"),
}
"""Short table -> its metrics of all images of a split."""

SHOWN_OF_CLASSES: dict[str, tuple[str, ...]] = {
    "model card": ("recall", "specificity", "auc"),
    "terminal": ("precision", "recall", "specificity", "f1", "auc"),
}
"""Short table -> its metrics of each class."""

SUMMARY_METRICS = tuple(metric.name for metric in METRICS["summary"])
CLASS_METRICS = tuple(metric.name for metric in METRICS["class"])
AVERAGES = {m.name: m.averages for m in METRICS["summary"] if m.averages is not None}
"""Each average over classes, and the class metric that it averages."""


def metrics_of(of: Of, needs: Needs | None = None) -> list[Metric]:
    """The metrics of a kind, in the table's order; only those of one need, if it is given."""
    return [metric for metric in METRICS[of] if needs in (None, metric.needs)]


def columns_of(metrics: Iterable[Metric]) -> dict[str, str]:
    """Name -> heading, as the columns of a table."""
    return {metric.name: metric.heading for metric in metrics}


def metrics_shown(place: str) -> list[Metric]:
    """The metrics of a split that a short table shows, in its order."""
    known = {m.name: m for of in ("point", "malignant", "summary") for m in METRICS[of]}
    return [known[name] for name in SHOWN[place]]


def class_metrics_shown(place: str) -> list[Metric]:
    """The metrics of a class that a short table shows, in its order."""
    return [class_metric(name) for name in SHOWN_OF_CLASSES[place]]


def class_metric(name: str) -> Metric:
    """A metric of one class by its name."""
    return next(metric for metric in METRICS["class"] if metric.name == name)


def heading_of(name: str) -> str:
    """The heading of a metric by its name."""
    return next(m.heading for of in METRICS.values() for m in of if m.name == name)
