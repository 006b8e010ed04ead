"""Losses on logits, in float32 whatever the policy of the network."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfskin.errors import UserError, nearest_hint
from tfskin.extensions import LOSS, load_part, takes


class _LogitLoss(keras.losses.Loss):
    """Mean over images of ``weight * loss(target, logits)``.

    Labels are integers (N,) or, of mixed images, a share of each class (N, C) with sum 1; logits
    are (N, C). The target is ``(1 - s) * share + s / C`` with the label smoothing ``s`` (Szegedy
    et al., "Rethinking the Inception Architecture", arXiv:1512.00567, section 7). An image's
    weight is that of its class, of a mixed image the mean over its shares; the sum is divided by
    the number of images, so weights other than 1 on average are a factor of the learning rate.
    Losses take logits only, so that a softmax can't be applied twice.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **(kwargs | {"dtype": "float32"}))
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else [float(w) for w in class_weights]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, (N,)."""
        classes = ops.shape(y_pred)[-1]
        shares = class_shares(y_true, classes)
        target = shares * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        losses = self.of_targets(target, ops.cast(y_pred, "float32"))
        if self.class_weights is None:
            return losses
        return losses * ops.sum(shares * ops.array(self.class_weights, "float32"), axis=-1)

    def of_targets(self, target: Any, logits: Any) -> Any:
        """The unweighted loss (N,) of targets and logits (N, C)."""
        return -ops.sum(target * ops.log_softmax(logits, axis=-1), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Everything that makes this loss again."""
        own = {"label_smoothing": self.label_smoothing, "class_weights": self.class_weights}
        return super().get_config() | own


@keras.saving.register_keras_serializable(package="tfskin")
class CrossEntropy(_LogitLoss):
    """``-sum_c t_c log p_c`` of targets t and probabilities p.

    Example:
        >>> loss = CrossEntropy()
        >>> round(float(loss([0], [[0.0, 0.0]])), 4)
        0.6931
    """


@keras.saving.register_keras_serializable(package="tfskin")
class Focal(_LogitLoss):
    """``-sum_c t_c (1 - p_c)^gamma log p_c``: images that are right already count less.

    Lin et al., "Focal Loss for Dense Object Detection", 2017, arXiv:1708.02002, equation 4, for a
    softmax in place of a sigmoid. With ``gamma`` 0 it is the cross-entropy.
    """

    def __init__(self, gamma: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gamma = gamma

    def of_targets(self, target: Any, logits: Any) -> Any:
        """The unweighted loss (N,)."""
        logs = ops.log_softmax(logits, axis=-1)
        # 1 - p from below 0 by rounding would have no power.
        missing = ops.maximum(1.0 - ops.exp(logs), 1e-7)
        return -ops.sum(target * ops.power(missing, self.gamma) * logs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Everything that makes this loss again."""
        return super().get_config() | {"gamma": self.gamma}


@keras.saving.register_keras_serializable(package="tfskin")
class LogitAdjusted(_LogitLoss):
    """The cross-entropy of ``logits + tau * log(share of each class in training)``.

    Menon et al., "Long-tail learning via logit adjustment", 2020, arXiv:2007.07314, equation 10.
    The network then learns logits for classes that are equally frequent, which raises the balanced
    accuracy; its probabilities are those of such a population. With ``tau`` 0 or equal shares it
    is the cross-entropy.

    Args:
        prior: share of each class in training, (C,), sum 1.
        tau: strength.
    """

    def __init__(self, prior: Sequence[float], tau: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prior = [float(share) for share in prior]
        self.tau = tau

    def of_targets(self, target: Any, logits: Any) -> Any:
        """The unweighted loss (N,)."""
        return super().of_targets(target, logits + self.tau * ops.log(ops.array(self.prior)))

    def get_config(self) -> dict[str, Any]:
        """Everything that makes this loss again."""
        return super().get_config() | {"prior": self.prior, "tau": self.tau}


def class_shares(labels: Any, num_classes: int) -> Any:
    """Labels (N,), (N, 1) or shares (N, C) as float32 shares (N, C)."""
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 2 and labels.shape[-1] == num_classes and num_classes > 1:
        return ops.cast(labels, "float32")
    return ops.one_hot(ops.reshape(ops.cast(labels, "int32"), (-1,)), num_classes, dtype="float32")


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """``n / (C n_c)``: 1 on average over the images, and every class weighs as much as another.

    C are the classes that have images; one without has the weight 0.
    """
    numbers = np.asarray(counts, "float64")
    there = numbers > 0
    weights = numbers.sum() / (max(there.sum(), 1) * np.maximum(numbers, 1))
    return np.where(there, weights, 0).tolist()


def sqrt_balanced_weights(counts: Sequence[int]) -> list[float]:
    """Proportional to the square root of :func:`balanced_weights`, 1 on average over the images.

    Between no weights and balanced ones: rare classes count more, and a class still weighs more in
    all the more images it has. A class without images has the weight 0.
    """
    roots = np.sqrt(balanced_weights(counts))
    images = np.asarray(counts, "float64")
    return (roots * images.sum() / max((roots * images).sum(), 1e-12)).tolist()


def effective_weights(counts: Sequence[int], beta: float) -> list[float]:
    """``(1 - beta) / (1 - beta^n_c)``, scaled to sum C.

    Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", 2019,
    arXiv:1901.05555, equation 5 and section 4. ``beta`` 0 weighs all classes alike; towards 1 the
    weights go to those by ``1 / n_c``. C are the classes that have images; one without has the
    weight 0, for it would take nearly all of the sum.
    """
    numbers = np.asarray(counts, "float64")
    there = numbers > 0
    held = np.maximum(numbers, 1)
    weights = (1 - beta) / -np.expm1(held * np.log(beta)) if beta else np.ones(len(held))
    weights = np.where(there, weights, 0)
    return (weights * there.sum() / max(weights.sum(), 1e-12)).tolist()


def class_prior(counts: Sequence[int]) -> list[float]:
    """Share of each class; a class without an image counts as if it had one."""
    numbers = np.maximum(np.asarray(counts, "float64"), 1)
    return (numbers / numbers.sum()).tolist()


Weights = Sequence[float] | None


def cross_entropy(
    *, counts: Mapping[str, int], label_smoothing: float = 0.0, class_weights: Weights = None
) -> CrossEntropy:
    """:class:`CrossEntropy`."""
    return CrossEntropy(label_smoothing, class_weights)


def focal(
    *,
    counts: Mapping[str, int],
    label_smoothing: float = 0.0,
    class_weights: Weights = None,
    focal_gamma: float = 2.0,
) -> Focal:
    """:class:`Focal`."""
    return Focal(focal_gamma, label_smoothing=label_smoothing, class_weights=class_weights)


def class_balanced(
    *, counts: Mapping[str, int], label_smoothing: float = 0.0, effective_beta: float = 0.999
) -> CrossEntropy:
    """The cross-entropy with :func:`effective_weights`."""
    return CrossEntropy(label_smoothing, effective_weights(list(counts.values()), effective_beta))


def logit_adjusted(
    *,
    counts: Mapping[str, int],
    label_smoothing: float = 0.0,
    class_weights: Weights = None,
    logit_tau: float = 1.0,
) -> LogitAdjusted:
    """:class:`LogitAdjusted` of the classes' shares in training."""
    prior = class_prior(list(counts.values()))
    return LogitAdjusted(
        prior, logit_tau, label_smoothing=label_smoothing, class_weights=class_weights
    )


LOSSES: dict[str, Callable[..., keras.losses.Loss]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "class_balanced": class_balanced,
    "logit_adjusted": logit_adjusted,
}
"""Name -> builder. A builder takes ``counts`` (class -> images in an epoch) and, if it knows them,
``label_smoothing``, ``class_weights`` (one a class, or none) and options of its own."""


def build_loss(
    loss: str,
    *,
    counts: Mapping[str, int],
    label_smoothing: float = 0.0,
    class_weights: Literal["none", "balanced", "sqrt_balanced"] | Mapping[str, float] = "none",
    options: Mapping[str, Any] | None = None,
    **keys: Any,
) -> keras.losses.Loss:
    """A loss by name.

    Args:
        loss: a name of :data:`LOSSES`, or one's own (:mod:`tfskin.extensions`).
        counts: class -> images of it in an epoch of training, in the order of the logits.
        label_smoothing: see :class:`CrossEntropy`.
        class_weights: ``balanced``: :func:`balanced_weights`; ``sqrt_balanced``:
            :func:`sqrt_balanced_weights`; or class -> weight, 1 where not named.
        options: options of the loss's builder.
        **keys: options of several losses, of which the builder gets those that it takes.

    Raises:
        UserError: no such loss, or one that does not take what is asked of it.

    Example:
        >>> loss = build_loss("focal", counts={"nevus": 9, "melanoma": 1}, focal_gamma=1.0)
        >>> loss.gamma
        1.0
    """
    weights: list[float] | None = None
    if class_weights == "balanced":
        weights = balanced_weights(list(counts.values()))
    elif class_weights == "sqrt_balanced":
        weights = sqrt_balanced_weights(list(counts.values()))
    elif isinstance(class_weights, Mapping):
        weights = [float(class_weights.get(name, 1.0)) for name in counts]
    builder, options = load_part(loss, LOSSES, LOSS), options or {}
    arguments = {key: value for key, value in keys.items() if takes(builder, key)}
    common = {"label_smoothing": label_smoothing, "class_weights": weights}
    for key, value in (common | dict(options)).items():
        if takes(builder, key):
            arguments[key] = value
        elif value or key in options:
            place = "train.loss_options" if key in options else f"train.{key}"
            known = [name for name in inspect.signature(builder).parameters if name != "counts"]
            hint = nearest_hint(key, known) or f"; it takes: {', '.join(known) or 'none'}"
            if ":" in key:
                hint = " (YAML wants a space after the colon: {key: value})"
            raise UserError(f"{place}: loss '{loss}' takes no '{key}'{hint}")
    made = builder(counts=counts, **arguments)
    if not isinstance(made, keras.losses.Loss):
        raise UserError(f"train.loss: '{loss}' returns {type(made).__name__}, no keras.losses.Loss")
    return made
