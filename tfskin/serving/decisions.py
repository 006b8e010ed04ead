"""What follows from logits: calibrated probabilities, malignancy, prediction sets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfskin.errors import UserError
from tfskin.evaluation.calibration import calibrate

# A float32 probability next to a quantile: the image that the quantile was taken from is inside.
_SLACK = 1e-6


@dataclass(frozen=True)
class Decisions:
    """What a run's ``decision.json`` says, checked; ``docs/metrics-schema.md`` has the formulas.

    Attributes:
        class_names: index -> class.
        temperature: probabilities are ``softmax(logits / temperature)``, then calibrated.
        calibration: isotonic knots of each class; none for nothing more than the temperature.
        malignant: the classes whose probabilities add up to the malignancy score; empty where
            that is not known.
        thresholds: operating point -> the score from which an image is called malignant.
        quantiles: class -> the largest ``1 - p`` with which it is in a prediction set; empty where
            no prediction sets were fitted.
        coverage: of the prediction sets.
    """

    class_names: tuple[str, ...]
    temperature: float = 1.0
    calibration: dict[str, Any] | None = None
    malignant: tuple[str, ...] = ()
    thresholds: dict[str, float] = field(default_factory=dict)
    quantiles: dict[str, float] = field(default_factory=dict)
    coverage: float | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(f"temperature {self.temperature}: must be above 0")
        for name in (*self.malignant, *self.quantiles):
            if name not in self.class_names:
                raise UserError(
                    f"decision.json: '{name}' is no class of the model "
                    f"({', '.join(self.class_names)}); evaluate the run again"
                )
        if self.quantiles and set(self.quantiles) != set(self.class_names):
            raise UserError("decision.json: 'conformal' must hold a quantile for every class")

    def to_probabilities(self, logits: Any, *, ops: Any = np) -> Any:
        """(N, C) calibrated probabilities of (N, C) logits.

        Args:
            logits: an array, or a tensor.
            ops: ``numpy`` (float64), or ``keras.ops`` for a graph (float32).
        """
        if ops is np:
            scaled = np.asarray(logits, np.float64) / self.temperature
            powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
            probabilities = powers / powers.sum(axis=-1, keepdims=True)
        else:
            probabilities = ops.softmax(ops.cast(logits, "float32") / self.temperature)
        return calibrate(probabilities, self.calibration, self.class_names, ops=ops)


def read_decisions(decision: dict[str, Any], class_names: Sequence[str]) -> Decisions:
    """The :class:`Decisions` of a run's ``decision.json``; what it lacks is left out.

    Raises:
        UserError: a key that does not have the form of ``docs/metrics-schema.md``.
    """
    try:
        conformal = decision.get("conformal") or {}
        calibration = decision.get("calibration")
        decisions = Decisions(
            class_names=tuple(class_names),
            temperature=float(decision["temperature"]),
            calibration=calibration if (calibration or {}).get("method") == "isotonic" else None,
            malignant=tuple(decision.get("malignant") or ()),
            thresholds={
                name: float(point["threshold"])
                for name, point in (decision.get("thresholds") or {}).items()
            },
            quantiles={n: float(q) for n, q in (conformal.get("per_class") or {}).items()},
            coverage=conformal.get("coverage"),
        )
        decisions.to_probabilities(np.zeros((1, len(class_names))))
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"decision.json: {error}; evaluate the run again") from None
    return decisions


def decide(decisions: Decisions, probabilities: tf.Tensor, *, top: int) -> dict[str, tf.Tensor]:
    """What a server adds to float32 ``probabilities`` (N, C), by name of the output.

    See :func:`tfskin.serving.graph.make_signatures` for the outputs.
    """
    count = tf.shape(probabilities)[0]
    names = tf.constant(list(decisions.class_names))
    values, places = tf.math.top_k(probabilities, min(top, len(decisions.class_names)))
    logs = tf.math.log(tf.maximum(probabilities, 1e-12))
    outputs = {
        "top_probabilities": values,
        "top_indices": places,
        "top_names": tf.gather(names, places),
        "entropy": -tf.reduce_sum(probabilities * logs, axis=1),
    }
    if decisions.malignant:
        is_malignant = [float(name in decisions.malignant) for name in decisions.class_names]
        score = tf.reduce_sum(probabilities * tf.constant(is_malignant), axis=1)
        outputs["malignancy"] = score
        if decisions.thresholds:
            points = tf.constant(list(decisions.thresholds))
            levels = tf.constant(list(decisions.thresholds.values()), tf.float32)
            outputs["operating_points"] = tf.tile(points[tf.newaxis], [count, 1])
            outputs["is_malignant"] = score[:, tf.newaxis] >= levels
    if decisions.quantiles:
        quantiles = [decisions.quantiles[name] + _SLACK for name in decisions.class_names]
        outputs["prediction_set"] = 1 - probabilities <= tf.constant(quantiles, tf.float32)
    return outputs


def graph_probabilities(decisions: Decisions, logits: tf.Tensor) -> tf.Tensor:
    """float32 (N, C) calibrated probabilities of logits, in a graph."""
    return decisions.to_probabilities(logits, ops=keras.ops)
