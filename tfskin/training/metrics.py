"""What is counted while an epoch trains, without a second pass over the images."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfskin.training.losses import class_shares


def largest_share(labels: Any, num_classes: int) -> Any:
    """Labels (N,) or, of mixed images, shares (N, C) as one-hot rows: the class with most of it."""
    shares = class_shares(labels, num_classes)
    return ops.one_hot(ops.argmax(shares, axis=-1), num_classes, dtype="float32")


@keras.saving.register_keras_serializable(package="tfskin")
class ConfusionMatrix(keras.metrics.Metric):
    """Counts of (label, predicted class) since the last reset, as a (C, C) int array."""

    def __init__(self, num_classes: int, name: str = "confusion") -> None:
        super().__init__(name=name, dtype="float32")
        self.num_classes = num_classes
        self.counts = self.add_variable(
            (num_classes, num_classes), initializer="zeros", dtype="int32", name="counts"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch of labels (N,) and logits (N, C)."""
        truth = ops.cast(largest_share(y_true, self.num_classes), "int32")
        found = ops.one_hot(ops.argmax(y_pred, axis=-1), self.num_classes, dtype="int32")
        self.counts.assign_add(ops.sum(truth[:, :, None] * found[:, None, :], axis=0))

    def result(self) -> Any:
        """The share of right predictions, for the log line."""
        total = ops.maximum(ops.sum(self.counts), 1)
        return ops.cast(ops.trace(self.counts), "float32") / ops.cast(total, "float32")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"num_classes": self.num_classes, "name": self.name}

    def matrix(self) -> np.ndarray:
        """The counts: rows are labels, columns are predictions."""
        return np.asarray(self.counts.numpy())


@keras.saving.register_keras_serializable(package="tfskin")
class MacroAUC(keras.metrics.AUC):
    """Mean one-vs-rest area under the ROC curve, by 200 thresholds, from logits.

    Of the classes that have images, and lack some; Keras counts the others as 0.
    """

    def __init__(self, num_classes: int, name: str = "auc") -> None:
        super().__init__(multi_label=True, num_labels=num_classes, name=name, dtype="float32")
        self.num_classes = num_classes

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch of labels (N,) and logits (N, C)."""
        truth = largest_share(y_true, self.num_classes)
        super().update_state(truth, ops.softmax(ops.cast(y_pred, "float32"), axis=-1))

    def result(self) -> Any:
        """The mean; 0 where no class has one."""
        hits, misses = self.true_positives, self.false_negatives
        false, rest = self.false_positives, self.true_negatives
        recall = ops.divide_no_nan(hits, hits + misses)
        fall_out = ops.divide_no_nan(false, false + rest)
        areas = ops.sum((fall_out[:-1] - fall_out[1:]) * (recall[:-1] + recall[1:]) / 2, axis=0)
        known = ops.cast((hits + misses)[0] * (false + rest)[0] > 0, "float32")
        return ops.divide_no_nan(ops.sum(areas * known), ops.sum(known))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"num_classes": self.num_classes, "name": self.name}
