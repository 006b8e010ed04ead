"""What a network costs: parameters, floating-point operations, activations."""

from math import prod
from typing import Any

import keras
from keras import layers


def count_parameters(model: keras.Model) -> tuple[int, int]:
    """The number of all parameters and of the trainable ones.

    Batch normalisation's moving statistics are parameters that do not train.
    """
    total = sum(prod(weight.shape) for weight in model.weights)
    trainable = sum(prod(weight.shape) for weight in model.trainable_weights)
    return total, trainable


def count_activations(model: keras.Model) -> int:
    """The numbers that one image's forward pass makes: the outputs of all layers together.

    Training keeps about as many for the backward pass, so times 4 bytes (float32) or 2 they are
    the memory of one more image in a batch. Layers that only pass on or reshape count too.

    Raises:
        ValueError: the height or width of a feature map is unknown.
    """
    total = 0
    for node in _calls(model):
        if isinstance(node.operation, keras.Model):
            total += count_activations(node.operation)
        else:
            total += sum(prod(_sides(node.operation, made)) for made in node.output_tensors)
    return total


def count_flops(model: keras.Model) -> int:
    """The floating-point operations of one image's forward pass, two per multiply-add.

    Counted are convolutions (grouped, depthwise, separable and transposed too) and dense layers,
    each as often as the graph calls it, nested models included. Biases, normalisation,
    activations, pooling and the Fourier transform are left out, as in most papers; many papers
    count a multiply-add once, so their figure is half of this one.

    Raises:
        ValueError: the height or width of a feature map is unknown, or a layer with a weight
            matrix has no formula here.
    """
    return sum(_count_call(node) for node in _calls(model))


def _calls(model: keras.Model) -> list[Any]:
    """Every call of a layer or nested model in the graph."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    if not hasattr(graph, "_nodes_by_depth"):
        raise ValueError(f"model '{model.name}' is no functional or sequential model")
    nodes = [node for depth in graph._nodes_by_depth.values() for node in depth]
    return [node for node in nodes if not node.is_input]


def _count_call(node: Any) -> int:
    layer = node.operation
    if isinstance(layer, keras.Model):
        return count_flops(layer)
    if not getattr(layer, "weights", []):
        return 0
    given = _sides(layer, node.input_tensors[0])
    made = _sides(layer, node.output_tensors[0])
    return 2 * _count_multiply_adds(layer, given, made)


def _count_multiply_adds(
    layer: keras.layers.Layer, given: tuple[int, ...], made: tuple[int, ...]
) -> int:
    """Multiply-adds of one call from shape ``given`` to shape ``made`` (without the batch)."""
    if isinstance(layer, layers.Dense):
        return prod(made) * given[-1]
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        positions = prod(made) // layer.filters
        inner = given[_channel_axis(layer)] * layer.depth_multiplier
        return positions * inner * (prod(layer.kernel_size) + layer.filters)
    if isinstance(layer, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
        return prod(made) * prod(layer.kernel_size)
    if isinstance(layer, layers.Conv2DTranspose | layers.Conv1DTranspose | layers.Conv3DTranspose):
        return prod(given) * prod(layer.kernel_size) * layer.filters
    if isinstance(layer, layers.Conv1D | layers.Conv2D | layers.Conv3D):
        return prod(made) * prod(layer.kernel_size) * given[_channel_axis(layer)] // layer.groups
    if any(len(weight.shape) > 1 for weight in layer.weights):
        raise ValueError(f"layer '{layer.name}' ({type(layer).__name__}) has no formula for FLOPs")
    return 0


def _channel_axis(layer: keras.layers.Layer) -> int:
    return 0 if layer.data_format == "channels_first" else -1


def _sides(layer: keras.layers.Layer, tensor: Any) -> tuple[int, ...]:
    sides = tuple(tensor.shape)[1:]
    if None in sides:
        raise ValueError(
            f"layer '{layer.name}' has the shape {sides}: build the model for one image size"
        )
    return sides
