"""A network taken apart: what a frozen backbone makes of an image, and the head that trains."""

import keras

from tfskin.errors import UserError
from tfskin.layers.parts import AUXILIARY, HEAD_START, leaf_layers
from tfskin.training.precision import dtype_policy


def split_head(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """``(backbone, head)``: RGB -> pooled features, and these -> logits.

    Both share the layers of ``model``, so the head's training is the model's. The backbone runs
    in inference mode when its ``predict`` does: statistics stand still, nothing is dropped.

    Raises:
        UserError: as :func:`check_head`.
    """
    check_head(model)
    pool = model.get_layer(HEAD_START)
    chain = model.layers[[layer.name for layer in model.layers].index(HEAD_START) + 1 :]
    with dtype_policy(model.dtype_policy.name):  # a head of float16 layers has its loss scaled
        # Named like the layer that it stands for: where a network's head begins is known by it.
        features = keras.Input(pool.output.shape[1:], dtype=pool.output.dtype, name=HEAD_START)
        backbone = keras.Model(model.inputs[0], pool.output, name=f"{model.name}_backbone")
        x, former = features, pool
        for layer in chain:
            if layer._inbound_nodes[0].parent_nodes[0].operation is not former:
                raise ValueError(
                    f"layer '{layer.name}' of the head does not follow '{former.name}'"
                )
            x, former = layer(x), layer
        return backbone, keras.Model(features, x, name=f"{model.name}_head")


def check_head(model: keras.Model) -> None:
    """Refuse a network whose head is no chain of layers behind its pooling (auxiliary heads).

    Raises:
        UserError: it is such a network.
    """
    names = [layer.name for layer in model.layers]
    auxiliary = any(layer.name.startswith(AUXILIARY) for layer in leaf_layers(model))
    if HEAD_START not in names or auxiliary:
        raise UserError(
            f"train.feature_views: the head of {model.name} does not begin at one layer, so its "
            "features can't be kept; set train.feature_views=0 or model.aux_weight=0"
        )
