"""Whether two models differ on the same images: paired bootstrap and DeLong's test."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from tfskin.evaluation.bootstrap import Bootstrap, Resampling, interval
from tfskin.evaluation.intervals import groups_of_classes, rests_on_lone_group
from tfskin.evaluation.metric_table import metrics_of
from tfskin.evaluation.predictions import Predictions
from tfskin.evaluation.sums import Floats, Ranking
from tfskin.evaluation.weighted_metrics import Statistics


def delong(
    positive: npt.NDArray[np.bool_],
    first: Floats,
    second: Floats,
    groups: npt.ArrayLike | None = None,
) -> dict[str, Any]:
    """The difference of two correlated AUCs, its standard error and two-sided p-value.

    The structural components of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), by
    midranks (Sun and Xu, IEEE Signal Processing Letters 21, 2014), and, where images share a
    group, summed over groups (Obuchowski, Biometrics 53, 1997), which for groups of one image is
    DeLong's variance.

    Args:
        positive: (N,) booleans, both values in it.
        first: (N,) scores of the first model.
        second: (N,) scores of the second model.
        groups: (N,) values; None: every image is on its own.

    Returns:
        ``auc_first, auc_second, difference`` (first minus second), ``standard_error, p``; ``p`` is
        1 where the two rank every image alike, and None where there are fewer than two groups of a
        kind.

    Raises:
        ValueError: no positives or no negatives, or arrays of different lengths.
    """
    positive = np.asarray(positive, bool)
    if positive.all() or not positive.any():
        raise ValueError("an AUC needs images of both kinds")
    if not len(positive) == len(first) == len(second):
        raise ValueError(f"{len(positive)} labels for {len(first)} and {len(second)} scores")
    names = np.arange(len(positive)) if groups is None else np.asarray(groups)
    _, group_of = np.unique(names, return_inverse=True)
    group_of = group_of.reshape(-1)
    areas, components = zip(*(_components(positive, s) for s in (first, second)), strict=True)
    difference = areas[0] - areas[1]
    result = {"auc_first": areas[0], "auc_second": areas[1], "difference": difference}
    deviations = components[0] - components[1] - difference
    variance = _clustered_variance(positive, deviations, group_of)
    if variance is None:
        return result | {"standard_error": None, "p": None}
    error = float(np.sqrt(max(variance, 0.0)))
    p = 1.0 if error < 1e-12 else float(2 * stats.norm.sf(abs(difference) / error))
    return result | {"standard_error": error, "p": p}


def _components(positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[float, Floats]:
    """The AUC, and for each image the share of images of the other kind that it stands right to."""
    high, low = scores[positive], scores[~positive]
    ranks = stats.rankdata(np.concatenate([high, low]))
    m, n = len(high), len(low)
    values = np.empty(len(scores))
    values[positive] = (ranks[:m] - stats.rankdata(high)) / n
    values[~positive] = 1 - (ranks[m:] - stats.rankdata(low)) / m
    return float(values[positive].mean()), values


def _clustered_variance(
    positive: npt.NDArray[np.bool_], deviations: Floats, group_of: npt.NDArray[np.intp]
) -> float | None:
    """Obuchowski's variance of the mean of both kinds' components."""
    size = int(group_of.max()) + 1
    sums, shares = [], []
    for kind in (positive, ~positive):
        total = np.bincount(group_of[kind], deviations[kind], minlength=size)
        groups = len(np.unique(group_of[kind]))
        if groups < 2:
            return None
        scale = groups / ((groups - 1) * kind.sum())
        sums.append(total)
        shares.append((scale * (total**2).sum() / kind.sum(), kind.sum()))
    both = size / (size - 1) * (sums[0] * sums[1]).sum() / (shares[0][1] * shares[1][1])
    return float(shares[0][0] + shares[1][0] + 2 * both)


def compare_predictions(
    models: Mapping[str, Predictions], bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """Every pair of models: the difference of each metric, its interval and its p-values.

    All models are judged on the same resamples of the same groups, so that what is hard about an
    image cancels out. The bootstrap's p is twice the smaller share of differences on either side
    of 0, counted with one resample more. Holm's method (1979) corrects the p-values of a metric
    for the number of pairs; a difference is called real where the corrected p is below
    ``1 - confidence``.

    Args:
        models: two or more: name -> its predictions of the same images in the same order. Where
            the malignant classes are known, the AUC of the malignant score is compared too
            (``malignant_auc``), and by DeLong's test.
        bootstrap: how the intervals are made.

    Returns:
        One entry a pair: ``{"first", "second", "figures": {name: {"value" (first minus second),
        "low", "high", "undefined", "p", "p_holm", "real"}}, "delong"}``; ``delong`` is None without
        malignant classes or images of both kinds. Averages over classes have neither interval nor p
        where a class has one group only.
    """
    one = next(iter(models.values()))
    resampling = bootstrap.plan(one.labels, one.groups)
    positive = one.positive
    two_sided = bool(positive.any() and not positive.all())
    metrics = [*metrics_of("summary"), *(metrics_of("malignant") if two_sided else [])]
    sizes = groups_of_classes(one.labels, resampling, len(one.class_names))
    values, drawn = _draw(models, resampling, two_sided=two_sided)
    pairs: list[dict[str, Any]] = []
    for first, second in combinations(models, 2):
        found = {}
        for metric in metrics:
            gap = float(values[first][metric.name] - values[second][metric.name])
            gaps = drawn[first][metric.name] - drawn[second][metric.name]
            entry = interval(
                gap if np.isfinite(gap) else None,
                gaps,
                confidence=bootstrap.confidence,
                groups=1 if rests_on_lone_group(metric, sizes) else resampling.count,
            )
            p = _two_sided_p(gaps) if entry["low"] is not None else None
            found[metric.name] = entry | {"p": p}
        scores = [models[name].malignant_scores for name in (first, second)]
        test = None
        if two_sided and scores[0] is not None and scores[1] is not None:
            test = delong(positive, scores[0], scores[1], one.groups)
        pairs.append({"first": first, "second": second, "figures": found, "delong": test})
    for metric in metrics:
        _correct([p["figures"][metric.name] for p in pairs], level=1 - bootstrap.confidence)
    return pairs


def _draw(
    models: Mapping[str, Predictions], resampling: Resampling, *, two_sided: bool
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Floats]]]:
    """Model -> metric -> its value, and its (R,) values over resamples."""
    values, drawn = {}, {}
    group_of, count = resampling.group_of, resampling.count
    for name, one in models.items():
        statistics = Statistics.of(one.labels, one.probabilities, group_of, count)
        ranking = None
        if two_sided and one.malignant_scores is not None:
            ranking = Ranking.of(one.positive, one.malignant_scores, group_of, count)

        def metrics(
            weights: Floats, own: Statistics = statistics, malignant: Ranking | None = ranking
        ) -> dict[str, Floats]:
            found = dict(own.metrics(weights).summary)
            ranked = malignant.weighted(weights) if malignant is not None else None
            if ranked is not None:
                found |= {m.name: m.compute(ranked) for m in metrics_of("malignant")}
            return found

        once = metrics(np.ones((count, 1)))
        values[name] = {key: float(value[0]) for key, value in once.items()}
        drawn[name] = resampling.run(metrics)
    return values, drawn


def _two_sided_p(gaps: Floats) -> float:
    defined = gaps[np.isfinite(gaps)]
    lower, upper = (defined <= 0).sum() + 1, (defined >= 0).sum() + 1
    return float(min(1.0, 2 * min(lower, upper) / (len(defined) + 1)))


def _correct(entries: list[dict[str, Any]], *, level: float) -> None:
    """Add ``p_holm`` and ``real`` to the entries of one metric."""
    known = sorted((e for e in entries if e["p"] is not None), key=lambda e: e["p"])
    highest = 0.0
    for place, entry in enumerate(known):
        highest = max(highest, min(1.0, entry["p"] * (len(known) - place)))
        entry["p_holm"] = highest
        entry["real"] = highest < level
    for entry in entries:
        if entry["p"] is None:
            entry |= {"p_holm": None, "real": None}
