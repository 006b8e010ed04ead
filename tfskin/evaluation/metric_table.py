"""The table of all metrics: one row says what a metric is called, how it is computed and shown.

Whatever lists metrics (``metrics.json``, the tables of the report, of the terminal and of the model
card) takes its list from :data:`METRICS`, so a new metric is one new row, with its function above.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tfskin.evaluation.sums import Confusions, Floats, Ints, Ranked, ratio

ECE_BINS = 15
PARTIAL_FROM = 0.8
"""The sensitivity above which the partial AUC is taken."""

Of = Literal["summary", "class", "malignant", "point"]
Needs = Literal["confusion", "images", "bins", "ranking", "average", "calls"]
Place = Literal[
    "calibration",
    "model card",
    "model card classes",
    "reliance",
    "repeats",
    "subgroups",
    "terminal",
    "terminal classes",
    "terminal pairs",
    "terminal points",
    "variants",
]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: its name, its function, and where it is shown.

    Attributes:
        name: its key in ``metrics.json``.
        heading: above its column, or before its row.
        of: what has one value of it: all images of a split (``summary``), each ``class`` against
            the rest, ``malignant`` against benign, or an operating ``point``.
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
        rests_on: whose number of groups decides how certain the metric is: ``images``, the images
            of ``every class`` (averages always do), of its own ``class``, or of the ``others``.
            Metrics of a ranking rest on the rarer of the last two.
        tail: the share of the positives that a metric of a ranking rests on.
        same_for_two: of two classes, both have the same value.
        short: heading of a narrow column on the terminal; ``heading`` unless given.
        words: what a sentence calls it; ``heading`` unless given.
        shown: where it is shown beside the tables of all metrics, and at which place there.
    """

    name: str
    heading: str
    of: Of
    needs: Needs
    function: Callable[..., Any] | None = None
    averages: str | None = None
    lower_is_better: bool = False
    highest: float | None = 1.0
    rests_on: Literal["images", "every class", "class", "others"] = "images"
    tail: float = 1.0
    same_for_two: bool = False
    short: str = ""
    words: str = ""
    shown: Mapping[Place, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("short", "words"):
            object.__setattr__(self, name, getattr(self, name) or self.heading)

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


METRICS: tuple[Metric, ...] = (
    Metric(
        name="accuracy",
        heading="Accuracy",
        of="summary",
        needs="confusion",
        function=lambda counts: ratio(counts.hits.sum(axis=1), counts.total),
        short="accuracy",
        words="accuracy",
        shown={
            "terminal": 1,
            "terminal pairs": 1,
            "repeats": 3,
            "variants": 2,
            "subgroups": 1,
            "reliance": 1,
            "model card": 2,
        },
    ),
    Metric(
        name="balanced_accuracy",
        heading="Balanced accuracy",
        of="summary",
        needs="average",
        averages="recall",
        short="balanced acc.",
        words="balanced accuracy",
        shown={
            "terminal": 2,
            "terminal pairs": 2,
            "repeats": 2,
            "variants": 3,
            "subgroups": 2,
            "reliance": 2,
            "model card": 3,
        },
    ),
    Metric(
        name="macro_f1",
        heading="Macro F1",
        of="summary",
        needs="average",
        averages="f1",
        short="macro F1",
        words="macro F1",
        shown={"terminal": 3, "terminal pairs": 3, "repeats": 4, "model card": 4},
    ),
    Metric(
        name="macro_auc",
        heading="Macro AUC",
        of="summary",
        needs="average",
        averages="auc",
        short="macro AUC",
        words="macro one-vs-rest AUC",
        shown={
            "terminal": 4,
            "terminal pairs": 4,
            "repeats": 1,
            "variants": 1,
            "subgroups": 3,
            "reliance": 3,
            "model card": 1,
        },
    ),
    Metric(
        name="macro_average_precision",
        heading="Macro average precision",
        of="summary",
        needs="average",
        averages="average_precision",
    ),
    Metric(
        name="macro_partial_auc",
        heading="Macro partial AUC",
        of="summary",
        needs="average",
        averages="partial_auc",
        highest=1 - PARTIAL_FROM,
        tail=1 - PARTIAL_FROM,
    ),
    Metric(
        name="kappa",
        heading="Cohen's kappa",
        of="summary",
        needs="confusion",
        function=cohens_kappa,
        highest=None,
        rests_on="every class",
    ),
    Metric(
        name="mcc",
        heading="MCC",
        of="summary",
        needs="confusion",
        function=matthews,
        highest=None,
        rests_on="every class",
    ),
    Metric(
        name="top2_accuracy",
        heading="Top-2 accuracy",
        of="summary",
        needs="images",
        function=among_first(2),
    ),
    Metric(
        name="top3_accuracy",
        heading="Top-3 accuracy",
        of="summary",
        needs="images",
        function=among_first(3),
    ),
    Metric(
        name="log_loss",
        heading="Log loss",
        of="summary",
        needs="images",
        function=log_losses,
        lower_is_better=True,
        highest=None,
        short="log-loss",
        words="log-loss",
        shown={
            "terminal": 5,
            "terminal pairs": 6,
            "repeats": 5,
            "variants": 4,
            "calibration": 1,
            "model card": 5,
        },
    ),
    Metric(
        name="brier",
        heading="Brier score",
        of="summary",
        needs="images",
        function=brier_scores,
        lower_is_better=True,
        highest=None,
        shown={"calibration": 2, "model card": 6},
    ),
    Metric(
        name="ece",
        heading="Calibration error",
        of="summary",
        needs="bins",
        function=confidence_gap,
        lower_is_better=True,
        highest=None,
        words="expected calibration error",
        shown={"calibration": 3, "model card": 7},
    ),
    Metric(
        name="precision",
        heading="Precision",
        of="class",
        needs="confusion",
        function=lambda counts: ratio(counts.hits, counts.chosen),
        rests_on="class",
        shown={"terminal classes": 1},
    ),
    Metric(
        name="recall",
        heading="Recall (sensitivity)",
        of="class",
        needs="confusion",
        function=lambda counts: ratio(counts.hits, counts.true),
        rests_on="class",
        shown={"terminal classes": 2, "model card classes": 1},
    ),
    Metric(
        name="specificity",
        heading="Specificity",
        of="class",
        needs="confusion",
        function=specificities,
        rests_on="others",
        shown={"terminal classes": 3, "model card classes": 2},
    ),
    Metric(
        name="f1",
        heading="F1",
        of="class",
        needs="confusion",
        function=lambda counts: ratio(2 * counts.hits, counts.true + counts.chosen),
        rests_on="class",
        shown={"terminal classes": 4},
    ),
    Metric(
        name="auc",
        heading="AUC",
        of="class",
        needs="ranking",
        function=roc_area,
        same_for_two=True,
        shown={"terminal classes": 5, "model card classes": 3},
    ),
    Metric(
        name="average_precision",
        heading="Average precision",
        of="class",
        needs="ranking",
        function=average_precision,
    ),
    Metric(
        name="partial_auc",
        heading="Partial AUC",
        of="class",
        needs="ranking",
        function=partial_roc_area,
        highest=1 - PARTIAL_FROM,
        tail=1 - PARTIAL_FROM,
    ),
    Metric(
        name="malignant_auc",
        heading="Malignant AUC",
        of="malignant",
        needs="ranking",
        function=roc_area,
        shown={"terminal pairs": 5, "subgroups": 4, "reliance": 4},
    ),
    Metric(
        name="sensitivity",
        heading="Sensitivity",
        of="point",
        needs="calls",
        function=lambda positive, called: (positive & called, positive),
        shown={"subgroups": 5, "terminal points": 1},
    ),
    Metric(
        name="specificity",
        heading="Specificity",
        of="point",
        needs="calls",
        function=lambda positive, called: (~positive & ~called, ~positive),
        shown={"subgroups": 6, "terminal points": 2},
    ),
    Metric(
        name="ppv",
        heading="PPV",
        of="point",
        needs="calls",
        function=lambda positive, called: (positive & called, called),
        shown={"terminal points": 3},
    ),
    Metric(
        name="npv",
        heading="NPV",
        of="point",
        needs="calls",
        function=lambda positive, called: (~positive & ~called, ~called),
        shown={"terminal points": 4},
    ),
    Metric(
        name="called",
        heading="Called malignant",
        of="point",
        needs="calls",
        function=lambda positive, called: (called, np.ones_like(called)),
    ),
)


def metrics_of(of: Of, needs: Needs | None = None) -> list[Metric]:
    """The metrics of a kind, in the table's order; only those of one need, if it is given."""
    return [m for m in METRICS if m.of == of and needs in (None, m.needs)]


def metrics_shown(place: Place) -> list[Metric]:
    """The metrics that are shown in a place, in the order of that place."""
    return sorted((m for m in METRICS if place in m.shown), key=lambda m: m.shown[place])


def heading_of(name: str) -> str:
    """The heading of a metric by its name."""
    return next(metric.heading for metric in METRICS if metric.name == name)


def class_metric(name: str) -> Metric:
    """A metric of one class by its name."""
    return next(metric for metric in metrics_of("class") if metric.name == name)


SUMMARY_METRICS = tuple(metric.name for metric in metrics_of("summary"))
CLASS_METRICS = tuple(metric.name for metric in metrics_of("class"))
AVERAGES = {m.name: m.averages for m in metrics_of("summary", "average") if m.averages}
"""Each average over classes, and the class metric that it averages."""
