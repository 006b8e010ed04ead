"""A network with auxiliary heads that exist while it trains."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="tfskin")
class WithAuxiliaries(keras.Model):
    """A functional model of the logits alone, whose training loss counts auxiliary heads too.

    Called with ``training=True`` it returns ``[logits, aux1, ...]``, else ``logits`` (N, C). The
    training loss is ``loss(logits) + weight * (loss(aux1) + ...)`` (Szegedy et al.,
    arXiv:1409.4842, section 5); metrics see the logits. The heads' weights are saved with the
    model, and its graph, which exports and ensembles copy, ends in the logits.

    Args:
        network: a functional model whose first output is the logits and the others auxiliary
            logits.
        weight: of each auxiliary loss.
        name: of the model.
    """

    def __init__(self, network: keras.Model, *, weight: float, name: str | None = None) -> None:
        super().__init__(inputs=network.inputs[0], outputs=network.outputs[0], name=name)
        self.network = network
        self.weight = weight

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The logits; in training a list of them and the auxiliary ones."""
        if training:
            return self.network(inputs, training=True)
        return super().call(inputs, training=training, mask=mask)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of the logits and, in training, of the auxiliary heads."""
        logits, *auxiliary = y_pred if isinstance(y_pred, list | tuple) else [y_pred]
        loss = super().compute_loss(x, y, logits, sample_weight, training)
        for side in auxiliary:
            side_loss = keras.losses.get(self.loss)(y, side, sample_weight=sample_weight)
            loss = loss + self.weight * side_loss
        return loss

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """The metrics of the logits."""
        logits = y_pred[0] if isinstance(y_pred, list | tuple) else y_pred
        return super().compute_metrics(x, y, logits, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this model again."""
        network = keras.saving.serialize_keras_object(self.network)
        return {"network": network, "weight": self.weight, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "WithAuxiliaries":
        """The model of a config."""
        network = keras.saving.deserialize_keras_object(config["network"], custom_objects)
        return cls(network, weight=config["weight"], name=config["name"])
