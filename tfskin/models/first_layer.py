"""A layer in front of a network's own first one."""

from typing import Any

import keras

from tfskin.models.auxiliary import WithAuxiliaries


def put_in_front(model: keras.Model, layer: keras.layers.Layer) -> keras.Model:
    """A copy of ``model`` whose image goes through ``layer`` first; weights and names are kept.

    Args:
        model: a functional model with one input, or one with auxiliary heads.
        layer: keeps the shape and range of images, RGB float32 in 0..255.
    """
    if isinstance(model, WithAuxiliaries):
        network = put_in_front(model.network, layer)
        return WithAuxiliaries(network, weight=model.weight, name=model.name)
    first = {
        id(node.operation) for node in model.inputs[0]._keras_history.operation._outbound_nodes
    }

    def call(copied: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if copied.name in names:
            return copied(layer(args[0]), *args[1:], **kwargs)
        return copied(*args, **kwargs)

    names = {one.name for one in model.layers if id(one) in first}
    given = model.inputs[0]
    image = keras.Input(batch_shape=given.shape, dtype=given.dtype, name=given.name)
    copy = keras.models.clone_model(model, image, call_function=call)
    copy.set_weights(model.get_weights())
    return copy
