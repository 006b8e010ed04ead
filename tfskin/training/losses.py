"""Losses on logits, in float32 whatever the policy of the network."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfskin")
class CrossEntropy(keras.losses.Loss):
    """Mean cross-entropy of integer labels (N,) and logits (N, C), with label smoothing.

    The target of label y is ``(1 - s) * onehot(y) + s / C`` (Szegedy et al., "Rethinking the
    Inception Architecture", arXiv:1512.00567, section 7). It takes logits only, so that a
    softmax can't be applied twice.

    Example:
        >>> loss = CrossEntropy()
        >>> round(float(loss([0], [[0.0, 0.0]])), 4)
        0.6931
    """

    def __init__(
        self, label_smoothing: float = 0.0, name: str = "cross_entropy", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **(kwargs | {"dtype": "float32"}))
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, (N,)."""
        classes = ops.shape(y_pred)[-1]
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        target = ops.one_hot(labels, classes, dtype="float32")
        smooth = self.label_smoothing
        target = target * (1.0 - smooth) + smooth / classes
        return -ops.sum(target * ops.log_softmax(y_pred, axis=-1), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Everything that makes this loss again."""
        return super().get_config() | {"label_smoothing": self.label_smoothing}
