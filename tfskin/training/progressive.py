"""Progressive learning: images, dropout and random changes that grow from stage to stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tfskin.layers.parts import leaf_layers
from tfskin.models.auxiliary import WithAuxiliaries
from tfskin.training.precision import dtype_policy


@dataclass(frozen=True)
class Progress:
    """What one stage sees.

    Attributes:
        size: height and width of the images.
        dropout: factor of every dropout rate.
        strength: factor of the strength of random changes.
    """

    size: tuple[int, int]
    dropout: float
    strength: float


def list_progress(
    stages: int, *, image_size: tuple[int, int], size: float, dropout: float, strength: float
) -> list[Progress]:
    """From the given fractions to all of it, in equal steps.

    Tan and Le, "EfficientNetV2", 2021, arXiv:2104.00298, section 4, algorithm 1.
    """

    def at(first: float, share: float) -> float:
        return first + (1.0 - first) * share

    shares = [number / (stages - 1) for number in range(stages)] if stages > 1 else [1.0]
    return [
        Progress(
            (round(image_size[0] * at(size, share)), round(image_size[1] * at(size, share))),
            at(dropout, share),
            at(strength, share),
        )
        for share in shares
    ]


def split_epochs(epochs: int, stages: int) -> list[int]:
    """Epochs of each stage; what does not divide evenly goes to the last ones."""
    return [(epochs + number) // stages for number in range(stages)]


def at_size(model: keras.Model, size: tuple[int, int]) -> keras.Model:
    """A network of the same layers, and so the same weights, for images of another size."""
    with dtype_policy(model.dtype_policy.name):
        if isinstance(model, WithAuxiliaries):
            network = at_size(model.network, size)
            return WithAuxiliaries(network, weight=model.weight, name=model.name)
        given = model.inputs[0]
        image = keras.Input((*size, 3), dtype=given.dtype, name=given.name)

        def same(layer: keras.layers.Layer) -> keras.layers.Layer:
            return layer

        # A compiled model's copy would be compiled too, from a config that has no counts.
        compiled, model.compiled = model.compiled, False
        try:
            return keras.models.clone_model(model, image, clone_function=same)
        finally:
            model.compiled = compiled


def dropout_rates(model: keras.Model) -> list[tuple[Any, float]]:
    """Each dropout layer and its rate."""
    return [(x, x.rate) for x in leaf_layers(model) if isinstance(x, keras.layers.Dropout)]


def set_rates(rates: Sequence[tuple[Any, float]], factor: float) -> None:
    """Give each dropout layer that fraction of its rate."""
    for layer, rate in rates:
        layer.rate = rate * factor


@keras.saving.register_keras_serializable(package="tfskin")
class Later(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule from its update ``begin`` on: a later stage of one long fall."""

    def __init__(self, after: keras.optimizers.schedules.LearningRateSchedule, begin: int) -> None:
        super().__init__()
        self.after = after
        self.begin = begin

    def __call__(self, step: Any) -> Any:
        """The learning rate of the stage's update ``step``."""
        return self.after(keras.ops.cast(step, "float32") + self.begin)

    def get_config(self) -> dict[str, Any]:
        """Everything that makes this schedule again."""
        return {"after": keras.saving.serialize_keras_object(self.after), "begin": self.begin}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Later":
        """The schedule of a config."""
        return cls(keras.saving.deserialize_keras_object(config["after"]), config["begin"])
