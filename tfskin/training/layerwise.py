"""Learning rates that fall with depth: early layers, which hold general features, move less."""

from typing import Any

import keras

from tfskin.layers.parts import head_layers, leaf_layers


def depth_rates(model: keras.Model, decay: float) -> dict[str, float]:
    """Path of each weight -> factor of the learning rate.

    1 in the head, ``decay`` in the layer nearest to the image, and geometric in between by depth
    in the graph (the longest way to the logits): ``decay ** (depth / depth of the first layer)``.
    Howard and Ruder, "Universal Language Model Fine-tuning", 2018, arXiv:1801.06146, section 3.2,
    divide by 2.6 a layer group; here the whole way down is given, so that the number means the
    same for five layers and for a hundred.

    Args:
        model: a functional model with a head (:mod:`tfskin.layers.parts`).
        decay: above 0, at most 1.
    """
    head = {id(layer) for layer in head_layers(model)}
    depths: dict[int, int] = {}
    for depth, nodes in model._nodes_by_depth.items():
        for node in nodes:
            key = id(node.operation)
            depths[key] = max(depth, depths.get(key, 0))
    body = [layer for layer in leaf_layers(model) if layer.weights and id(layer) not in head]
    reached = [depths[id(layer)] for layer in body]
    nearest, first = (min(reached), max(reached)) if reached else (0, 0)
    rates: dict[str, float] = {}
    for layer in body:
        share = (depths[id(layer)] - nearest) / max(first - nearest, 1)
        rates |= {weight.path: decay**share for weight in layer.weights}
    return rates


class Layerwise:
    """An optimizer's step with a factor of the learning rate for each weight.

    ``rates`` maps the path of a weight to its factor, 1 for others. Decoupled weight decay, which
    is multiplied by the learning rate, is multiplied by the factor too.
    """

    def __init__(self, *args: Any, rates: dict[str, float] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rates = dict(rates or {})

    def build(self, variables: list[Any]) -> None:
        """Create the slots, and look up the factor of each variable."""
        super().build(variables)  # type: ignore[misc]
        self._factors = [self.rates.get(variable.path, 1.0) for variable in variables]
        decay: float = getattr(self, "weight_decay", None) or 0.0
        self._decays = [
            decay if decay and self._use_weight_decay(variable) else 0.0  # type: ignore[attr-defined]
            for variable in variables
        ]

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        """Nothing: the decay is part of each weight's step."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        number = self._get_variable_index(variable)  # type: ignore[attr-defined]
        rate = learning_rate * self._factors[number]
        if self._decays[number]:
            kept = 1 - keras.ops.cast(self._decays[number] * rate, variable.dtype)
            self.assign(variable, variable * kept)  # type: ignore[attr-defined]
        super().update_step(gradient, variable, rate)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again."""
        return {**super().get_config(), "rates": self.rates}  # type: ignore[misc]
