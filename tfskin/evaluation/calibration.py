"""Probabilities that mean what they say: isotonic maps, and how far off they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.special
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tfskin.evaluation.metrics import Floats, Ints, check_predictions

FOLDS = 5
LEAST_GAP = 1e-3

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Knots(BaseModel):
    """The line that one class's probability is mapped along.

    Attributes:
        x: two or more probabilities, rising.
        y: what each becomes, above 0 and at most 1.
    """

    model_config = ConfigDict(frozen=True)

    x: tuple[Number, ...]
    y: tuple[Number, ...]

    @model_validator(mode="after")
    def _check(self) -> Knots:
        if len(self.x) < 2 or len(self.x) != len(self.y):
            raise ValueError("'x' and 'y' must hold as many numbers as each other, two or more")
        if not all(low < high for low, high in pairwise(self.x)):
            raise ValueError("'x' must rise")
        if not 0 < min(self.y) <= max(self.y) <= 1:
            raise ValueError("'y' must lie above 0 and not above 1")
        return self


class Calibration(BaseModel):
    """What follows the softmax with its temperature.

    Attributes:
        method: ``temperature`` for nothing more, or ``isotonic``.
        classes: class -> its knots, of isotonic calibration.
    """

    model_config = ConfigDict(frozen=True)

    method: Literal["temperature", "isotonic"] = "temperature"
    classes: dict[str, Knots] = Field(default_factory=dict)


def softmax(logits: npt.ArrayLike, *, temperature: float = 1.0) -> Floats:
    """(N, C) float64 probabilities of (N, C) logits divided by a temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    return np.asarray(scipy.special.softmax(scaled, axis=1))


def fit_isotonic(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, class_names: Sequence[str]
) -> Calibration:
    """The isotonic calibration of each class against the rest.

    Pool-adjacent-violators, then the classes are brought to sum 1 when it is applied (Zadrozny
    and Elkan, Transforming classifier scores into accurate multiclass probability estimates, KDD
    2002). Each pooled block stands at the mean of its scores and the line goes from block to block
    (centred isotonic regression, Oron and Flournoy, Statistics in Biopharmaceutical Research 9,
    2017), blocks closer than 0.001 joined: a steep step would make the answer depend on the last
    digit, and a float32 graph differ from float64. The fitted shares are kept within
    ``1 / (n + 2)`` of 0 and 1, for n images: a step at 0 would cost an infinite log-loss and could
    leave a row without any probability.

    Args:
        labels: (N,) integers.
        probabilities: (N, C) floats; each row sums to 1.
        class_names: C names.

    A class without images, or with nothing else, keeps its probability.
    """
    from sklearn.isotonic import IsotonicRegression

    true, values = check_predictions(labels, probabilities, class_names)
    least = 1 / (len(true) + 2)
    knots = {}
    for c, name in enumerate(class_names):
        positive = true == c
        x, y = np.array([0.0, 1.0]), np.array([0.0, 1.0])
        if positive.any() and not positive.all():
            # Scores closer than float64's epsilon are averaged; the highest would lie outside.
            fitted = IsotonicRegression(out_of_bounds="clip").fit_transform(values[:, c], positive)
            x, y = _join_blocks(values[:, c], fitted)
        if len(x) < 2:  # constant scores have one knot
            x, y = np.array([0.0, 1.0]), np.repeat(y[:1], 2)
        knots[name] = Knots(x=tuple(x.tolist()), y=tuple(np.clip(y, least, 1 - least).tolist()))
    return Calibration(method="isotonic", classes=knots)


def _join_blocks(scores: Floats, fitted: Floats) -> tuple[Floats, Floats]:
    """Knots at the mean score of each level, levels closer than the least gap joined."""
    levels, block = np.unique(fitted, return_inverse=True)
    sizes = np.bincount(block).astype(float)
    centres = np.bincount(block, scores) / sizes
    knots: list[list[float]] = []  # [images, sum of scores, sum of levels]
    for size, centre, level in zip(sizes, centres, levels, strict=True):
        if knots and centre - knots[-1][1] / knots[-1][0] < LEAST_GAP:
            knots[-1] = [
                a + b for a, b in zip(knots[-1], (size, size * centre, size * level), strict=True)
            ]
        else:
            knots.append([size, size * centre, size * level])
    table = np.array(knots)
    return table[:, 1] / table[:, 0], table[:, 2] / table[:, 0]


def calibrate(
    probabilities: Any,
    calibration: Calibration | None,
    class_names: Sequence[str],
    *,
    ops: Any = np,
) -> Any:
    """(N, C) probabilities after a calibration.

    Each class is interpolated between its knots, ``q = y_0 + sum_k s_k clip(p - x_k, 0, d_k)``
    with ``d_k = x_{k+1} - x_k`` and ``s_k = (y_{k+1} - y_k) / d_k``, and ``q`` brought to sum 1.

    Args:
        probabilities: (N, C) array or tensor; each row sums to 1.
        calibration: of :func:`fit_isotonic`; the method ``temperature`` and None change nothing.
        class_names: C names, in the order of the columns.
        ops: ``numpy``, or ``keras.ops`` for a graph.
    """
    if calibration is None or calibration.method == "temperature":
        return probabilities
    columns = []
    for c, name in enumerate(class_names):
        x = np.asarray(calibration.classes[name].x, np.float64)
        y = np.asarray(calibration.classes[name].y, np.float64)
        steps = np.diff(x)
        slopes = np.diff(y) / steps
        kind = getattr(probabilities, "dtype", None)
        if ops is not np:
            x, y, steps, slopes = (a.astype("float32") for a in (x, y, steps, slopes))
            kind = None
        inside = ops.clip(probabilities[:, c : c + 1] - x[None, :-1], 0, steps[None])
        column = y[0] + ops.sum(slopes[None] * inside, axis=1)
        columns.append(column.astype(kind) if kind is not None else column)
    mapped = ops.stack(columns, axis=1)
    return mapped / ops.sum(mapped, axis=1, keepdims=True)


def cross_calibrate(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    groups: npt.ArrayLike,
    class_names: Sequence[str],
    *,
    folds: int = FOLDS,
) -> Floats:
    """(N, C) isotonic probabilities, each image's by a fit that has not seen its group.

    What is fitted next on the same images (thresholds, prediction sets) would be too hopeful on
    probabilities that were fitted to these very labels.
    """
    true, values = check_predictions(labels, probabilities, class_names)
    fold_of = deal_groups(groups, folds)
    result = values.copy()
    for fold in np.unique(fold_of):
        inside, out = fold_of != fold, fold_of == fold
        if inside.any():
            fitted = fit_isotonic(true[inside], values[inside], class_names)
            result[out] = calibrate(values[out], fitted, class_names)
    return result


def deal_groups(groups: npt.ArrayLike, folds: int, *, seed: int | None = None) -> Ints:
    """(N,) the fold of each image; a group is in one fold.

    Groups are dealt by their order of size; with fewer groups than folds, one group a fold.

    Args:
        groups: (N,) images of one value belong together.
        folds: how many.
        seed: of the order of groups of one size; that of their values unless given.
    """
    _, group_of, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    order = np.arange(len(sizes))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    rank = np.empty(len(sizes), np.int64)
    rank[order[np.argsort(-sizes[order], kind="stable")]] = np.arange(len(sizes))
    return rank[group_of.reshape(-1)] % folds


def reliability(
    positive: npt.NDArray[np.bool_], scores: Floats, *, bins: int = 10
) -> list[dict[str, float]]:
    """Bins of equally many images: mean score, observed share and number of images of each."""
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [
        {
            "score": float(scores[part].mean()),
            "observed": float(positive[part].mean()),
            "images": len(part),
        }
        for part in parts
    ]
