"""FLOPs and parameters against formulas written by hand and TensorFlow's own count."""

import keras
import pytest
from keras import layers

from tfskin.models import build_model, count_flops, count_parameters


def model_of(*stack, shape=(8, 10, 6)):
    return keras.Sequential([keras.Input(shape), *stack])


CASES = {
    "conv": (layers.Conv2D(4, (3, 5), padding="same"), 2 * 8 * 10 * 4 * 15 * 6),
    "strided": (layers.Conv2D(4, 3, strides=2, padding="valid"), 2 * 3 * 4 * 4 * 9 * 6),
    "dilated": (layers.Conv2D(4, 3, dilation_rate=2), 2 * 4 * 6 * 4 * 9 * 6),
    "grouped": (layers.Conv2D(4, 3, groups=2, padding="same"), 2 * 8 * 10 * 4 * 9 * 3),
    "depthwise": (
        layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
        2 * 8 * 10 * 12 * 9,
    ),
    "separable": (
        layers.SeparableConv2D(5, 3, depth_multiplier=2, padding="same"),
        2 * 8 * 10 * (12 * 9 + 12 * 5),
    ),
    "transposed": (
        layers.Conv2DTranspose(5, 2, strides=2, padding="same"),
        2 * 8 * 10 * 6 * 4 * 5,
    ),
    "dense on a map": (layers.Dense(7), 2 * 8 * 10 * 6 * 7),
    "normalisation": (layers.BatchNormalization(), 0),
    "pooling": (layers.MaxPooling2D(), 0),
}


@pytest.mark.parametrize("case", CASES)
def test_formula(case):
    layer, expected = CASES[case]
    assert count_flops(model_of(layer)) == expected


def test_dense():
    assert count_flops(model_of(layers.Dense(5), shape=(7,))) == 2 * 7 * 5


def test_shared_and_nested_layers_count_at_each_call():
    convolution = layers.Conv2D(6, 3, padding="same")
    one = 2 * 8 * 10 * 6 * 9 * 6
    inputs = keras.Input((8, 10, 6))
    inner = model_of(convolution)
    outputs = inner(convolution(convolution(inputs)))
    assert count_flops(keras.Model(inputs, outputs)) == 3 * one


@pytest.mark.parametrize("name", ["conv", "strided", "depthwise", "separable", "dense on a map"])
def test_parity_with_tensorflows_profiler(name):
    assert _profiled(model_of(CASES[name][0])) == CASES[name][1]


def test_parity_with_tensorflows_profiler_on_a_network():
    model = build_model("five_layer", image_size=(32, 48), num_classes=3, widths=(4, 8, 8, 8, 8))
    assert _profiled(model) == count_flops(model)


def _profiled(model):
    """FLOPs of the convolutions and matrix products in TensorFlow's graph of one image."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow is not the backend")
    import tensorflow as tf

    spec = tf.TensorSpec((1, *model.input_shape[1:]), "float32")
    # Shapes alone are profiled; the graph is never run.
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = {**builder.float_operation(), "output": "none"}
    options["account_type_regexes"] = ["Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2"]
    with graph.as_default():
        return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


def test_layer_without_a_formula_is_named():
    model = keras.Sequential([keras.Input((5, 8)), layers.LSTM(4, name="recurrent")])
    with pytest.raises(ValueError, match=r"'recurrent' \(LSTM\) has no formula"):
        count_flops(model)


def test_unknown_size_is_refused():
    with pytest.raises(ValueError, match="one image size"):
        count_flops(model_of(layers.Conv2D(4, 3), shape=(None, None, 3)))


def test_parameters():
    model = model_of(layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization())
    assert count_parameters(model) == (9 * 6 * 4 + 16, 9 * 6 * 4 + 8)
    model.layers[0].trainable = False
    assert count_parameters(model) == (9 * 6 * 4 + 16, 8)
