"""Members' probabilities become one ensemble's, and members become one Keras model.

With ``p_m`` the (C,) probabilities of member m and ``l_m = log max(p_m, 1e-7)``:

==================  ==========================================================================
method              probabilities ``p`` before the temperature
==================  ==========================================================================
mean_probabilities  ``sum_m w_m p_m`` with equal weights
weights             ``sum_m w_m p_m`` with the convex weights of the lowest log-loss
mean_logits         ``softmax(sum_m w_m l_m)`` with equal weights
stacking            ``softmax(W [l_1 - mean l_1 ... l_M - mean l_M] + b)``, multinomial logistic
                    regression; a class that the calibration split lacks keeps its mean
                    probability over members
==================  ==========================================================================

Then ``softmax(log max(p, 1e-7) / temperature)``. The floor keeps a logarithm finite and changes a
probability by no more than 1e-7 for each class.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from tfskin.errors import UserError
from tfskin.evaluation.calibration import deal_groups
from tfskin.evaluation.metrics import Floats, Ints, check_predictions, check_probabilities

Method = Literal["mean_probabilities", "mean_logits", "weights", "stacking"]

FLOOR = 1e-7
TEMPERATURES = (0.1, 10.0)

# Far more than convergence takes; a step costs microseconds.
WEIGHT_STEPS = 20_000

# Penalties of the stacking that cross-validation chooses from, the strongest first.
STACKING_PENALTIES = (10_000.0, 3_000.0, 1_000.0, 300.0, 100.0, 30.0, 10.0, 3.0)
STACKING_FOLDS = 5

# A bias that makes a probability of exactly 0 in float32 without an infinity.
NEVER = -1e9


@dataclass(frozen=True)
class Combiner:
    """How M members' probabilities become one; plain numbers, so that it is JSON as it stands.

    Attributes:
        method: a row of the module's table.
        weights: M convex weights; empty for stacking.
        coefficients: stacking only: C rows of M * C coefficients, member after member.
        bias: stacking only: C numbers; -1e9 for a missing class.
        missing: stacking only: indices of the classes that the calibration split lacks.
        temperature: above 1 softens, below 1 sharpens; 1 without temperature scaling.
    """

    method: Method
    weights: tuple[float, ...] = ()
    coefficients: tuple[tuple[float, ...], ...] = ()
    bias: tuple[float, ...] = ()
    missing: tuple[int, ...] = ()
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"unknown method {self.method!r}: expected one of {get_args(Method)}")
        if not 0.01 <= self.temperature <= 100:
            raise ValueError(f"temperature {self.temperature}: expected a number of 0.01 to 100")
        if self.method == "stacking":
            if not self.bias or len(self.coefficients) != len(self.bias):
                raise ValueError("stacking needs one row of coefficients and one bias a class")
        elif not self.weights or min(self.weights) < 0 or abs(sum(self.weights) - 1) > 1e-6:
            raise ValueError(f"weights {self.weights}: none may be below 0, and they sum to 1")

    @property
    def num_members(self) -> int:
        """M."""
        if self.method == "stacking":
            return len(self.coefficients[0]) // len(self.bias)
        return len(self.weights)

    def to_dict(self) -> dict[str, Any]:
        """Lists and numbers, ready for JSON; :meth:`from_dict` reads them."""
        values = asdict(self)
        values["coefficients"] = [list(row) for row in self.coefficients]
        return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Combiner:
        """The combiner of :meth:`to_dict`."""
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        rows = values.get("coefficients", ())
        return cls(**{**values, "coefficients": tuple(tuple(row) for row in rows)})


@dataclass(frozen=True)
class Fitted:
    """A combiner, and what is known of its probabilities beyond the images of its fit.

    Attributes:
        combiner: fitted on all images.
        held_out: (N, C) probabilities after the temperature. Of stacking, each image's are by a
            fit that has not seen its group; the other methods fit too little to need that, and
            theirs are the combiner's own.
    """

    combiner: Combiner
    held_out: Floats


def fit_combiner(
    member_probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    method: Method,
    groups: npt.ArrayLike | None = None,
    temperature: bool = True,
    seed: int = 0,
) -> Fitted:
    """The combiner fitted on the calibration split.

    Args:
        member_probabilities: (M, N, C) floats; each row sums to 1.
        labels: (N,) integers.
        method: a row of the module's table.
        groups: (N,) images of one value belong together, and are in one fold of stacking; each
            image is alone unless given.
        temperature: also fit a temperature on the combined probabilities, of stacking on the
            held-out ones: its own are fitted to these very labels.
        seed: of the folds of stacking; the other methods draw nothing.

    Raises:
        ValueError: wrong shapes, or values that are not probabilities.
        UserError: stacking with fewer than two classes in the calibration split.
    """
    members = _check_members(member_probabilities)
    true, _ = check_predictions(labels, members[0], [str(c) for c in range(members.shape[2])])
    if method == "stacking":
        groups = np.arange(len(true)) if groups is None else groups
        fold_of = deal_groups(groups, STACKING_FOLDS, seed=seed)
        combiner, held_out = _choose_stacking(members, true, fold_of)
    else:
        equal = (1 / len(members),) * len(members)
        weights = _fit_weights(members, true) if method == "weights" else equal
        combiner = Combiner(method, weights=weights)
        held_out = combine(combiner, members)
    if temperature:
        found = fit_temperature(_log(held_out), true)
        combiner = replace(combiner, temperature=found)
    return Fitted(combiner, np.asarray(softmax(_log(held_out) / combiner.temperature, axis=1)))


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The T in [0.1, 10] of the lowest mean log-loss of ``softmax(logits / T)``.

    The loss is convex in 1/T, so the bounded search over log T finds the one minimum. Logits that
    are right everywhere want T = 0: the bound of 0.1 is what they get.

    Reference: Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2.

    Args:
        logits: (N, C) finite floats; log-probabilities serve as well.
        labels: (N,) integers.

    Raises:
        ValueError: wrong shapes, labels that are not indices, logits that are not finite.
    """
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2 or not np.all(np.isfinite(scores)):
        raise ValueError(f"logits of shape {scores.shape}: expected (N, C) finite numbers")
    true, _ = check_predictions(
        labels, softmax(scores, axis=1), [*map(str, range(scores.shape[1]))]
    )

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(scores / math.exp(log_temperature), axis=1)
        return float(-scaled[np.arange(len(true)), true].mean())

    low, high = map(math.log, TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded")
    # The search never evaluates its bounds, where the optimum of perfect logits lies.
    return math.exp(min([0.0, low, high, float(found.x)], key=loss))


def combine(combiner: Combiner, member_probabilities: npt.ArrayLike) -> Floats:
    """(N, C) float64 probabilities of the ensemble.

    Args:
        combiner: of M members.
        member_probabilities: (M, N, C) floats; each row sums to 1.

    Raises:
        ValueError: another number of members, or values that are not probabilities.
    """
    members = _check_members(member_probabilities)
    if len(members) != combiner.num_members:
        raise ValueError(f"{len(members)} members for a combiner of {combiner.num_members}")
    if combiner.method == "stacking":
        mixed = _stack(combiner, members)
    elif combiner.method == "mean_logits":
        mixed = softmax(np.tensordot(combiner.weights, _log(members), axes=1), axis=1)
    else:
        mixed = np.tensordot(combiner.weights, members, axes=1)
    return np.asarray(softmax(_log(mixed) / combiner.temperature, axis=1))


def _check_members(member_probabilities: npt.ArrayLike) -> Floats:
    members = check_probabilities(member_probabilities)
    if members.ndim != 3:
        raise ValueError(f"member probabilities of shape {members.shape}: expected (M, N, C)")
    return members


def _log(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, FLOOR))


def _log_loss(probabilities: Floats, labels: Ints) -> float:
    return float(-_log(probabilities[np.arange(len(labels)), labels]).sum())


def _fit_weights(members: Floats, labels: Ints) -> tuple[float, ...]:
    """Convex weights whose mean log-loss is within 1e-9 of the lowest on the simplex.

    ``w_m <- w_m g_m`` with ``g_m = mean_n (p_mn / sum_k w_k p_kn)`` stays on the simplex and never
    raises the loss; the lowest loss is at most ``log max g`` below, which is when to stop.

    Reference: Cover, An Algorithm for Maximizing Expected Log Investment Return, 1984, theorem 1.
    """
    right = np.maximum(members[:, np.arange(len(labels)), labels], FLOOR)
    equal = np.full(len(members), 1 / len(members))
    weights = equal
    for _ in range(WEIGHT_STEPS):
        gain = (right / (weights @ right)).mean(axis=1)
        if gain.max() < 1 + 1e-9:
            break
        weights = weights * gain
    weights = weights / weights.sum()
    # A corner of the simplex is only reached in the limit: take it when it is the best.
    best = min([equal, *np.eye(len(members)), weights], key=lambda w: -np.log(w @ right).mean())
    return tuple(map(float, best))


def _choose_stacking(members: Floats, labels: Ints, fold_of: Ints) -> tuple[Combiner, Floats]:
    """The stacking whose penalty had the lowest log-loss on held-out folds, and what these got.

    A fold whose rest is of one class can't be held out, and keeps what the stacking says itself.
    """
    if len(np.unique(labels)) < 2:
        raise UserError(
            "stacking: the calibration split has images of one class only; "
            "choose combination: mean_probabilities"
        )
    folds = [fold_of == fold for fold in np.unique(fold_of)]
    folds = [out for out in folds if len(np.unique(labels[~out])) > 1]
    best, lowest, kept = STACKING_PENALTIES[0], math.inf, []
    for penalty in STACKING_PENALTIES:
        fits = [_fit_stacking(members[:, ~out], labels[~out], penalty) for out in folds]
        parts = [_stack(fit, members[:, out]) for fit, out in zip(fits, folds, strict=True)]
        loss = sum(_log_loss(p, labels[out]) for p, out in zip(parts, folds, strict=True))
        # Weaker penalties take longer and, past the best one, only fit the noise.
        if loss >= lowest:
            break
        best, lowest, kept = penalty, loss, parts
    combiner = _fit_stacking(members, labels, best)
    held_out = _stack(combiner, members)
    for out, part in zip(folds, kept, strict=True):
        held_out[out] = part
    return combiner, held_out


def _fit_stacking(members: Floats, labels: Ints, penalty: float) -> Combiner:
    """Logistic regression whose ridge pulls towards the mean of the logits at its temperature.

    Minimises ``sum_n loss_n + penalty / 2 |(W, b) - target|^2``. A ridge towards 0, the usual one,
    would pull towards equal probabilities for all classes: a far worse guess than the members'.
    """
    count, _, size = members.shape
    present, rows = np.unique(labels, return_inverse=True)
    one_hot = np.eye(len(present))[rows]
    inputs = np.concatenate([_features(members), np.ones((len(labels), 1))], axis=1)
    share = 1 / (count * fit_temperature(_log(members).mean(axis=0), labels))
    target = np.concatenate([np.tile(share * np.eye(size), count), np.zeros((size, 1))], axis=1)

    def loss(flat: Floats) -> tuple[float, Floats]:
        values = flat.reshape(target[present].shape)
        logs = log_softmax(inputs @ values.T, axis=1)
        pull = values - target[present]
        slope = (np.exp(logs) - one_hot).T @ inputs + penalty * pull
        return float(penalty / 2 * (pull**2).sum() - (logs * one_hot).sum()), slope.ravel()

    start = target[present].ravel()
    found: Any = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    solved = np.zeros_like(target)
    solved[:, -1] = NEVER
    solved[present] = found.x.reshape(len(present), -1)
    return Combiner(
        "stacking",
        coefficients=tuple(tuple(map(float, row[:-1])) for row in solved),
        bias=tuple(map(float, solved[:, -1])),
        missing=tuple(int(c) for c in range(size) if c not in present),
    )


def _features(members: Floats) -> Floats:
    """(N, M * C) centred log-probabilities, member after member."""
    logs = _log(members)
    return np.concatenate(list(logs - logs.mean(axis=2, keepdims=True)), axis=1)


def _stack(combiner: Combiner, members: Floats) -> Floats:
    scores = _features(members) @ np.asarray(combiner.coefficients).T + np.asarray(combiner.bias)
    kept = members.mean(axis=0)[:, list(combiner.missing)]
    mixed = softmax(scores, axis=1) * (1 - kept.sum(axis=1, keepdims=True))
    mixed[:, list(combiner.missing)] = kept
    return np.asarray(mixed)
