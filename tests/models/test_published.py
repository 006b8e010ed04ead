"""Numbers of parameters at 1,000 classes, against papers, torchvision and keras.applications."""

from typing import Any

import keras
import pytest

from tfskin.layers.parts import head_layers
from tfskin.models import build_model, builder_arguments, count_flops, count_parameters
from tfskin.models.arguments import ArgumentError
from tfskin.models.googlenet import MODULES, build_googlenet
from tfskin.models.lenet import build_lenet

TRAINABLE = {
    "alexnet": 61_100_840,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50": 25_028_904,
    "resnext101": 88_791_336,
    "inception_v3": 23_817_352,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_v2_s": 21_458_488,
    "efficientnet_v2_m": 54_139_356,
    "efficientnet_v2_l": 118_515_272,
}
IN_A_MOMENT = {"resnet18", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"}
SMALLEST = {
    "five_layer": 32,
    "lenet": 32,
    "alexnet": 63,
    "vgg16": 32,
    "vgg19": 32,
    "googlenet": 32,
    "resnet10": 8,
    "resnet50": 8,
    "resnext50": 8,
    "inception_v3": 75,
    "efficientnet_lite0": 32,
    "efficientnet_v2_s": 32,
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in IN_A_MOMENT else pytest.mark.slow) for n in TRAINABLE]
)
def test_trainable_parameters_are_the_published_ones(name):
    size = builder_arguments(name)["image_size"]
    model = build_model(name, image_size=size, num_classes=1000)
    assert count_parameters(model)[1] == TRAINABLE[name]
    keras.backend.clear_session()


def test_lenet_has_the_papers_parameters():
    # 61,706 on grey images, and 6 kernels of 25 weights for each of two more colours.
    assert count_parameters(build_lenet(num_classes=10))[0] == 61_706 + 2 * 150


def test_googlenet_has_the_papers_parameters():
    def convolution(inputs, outputs, kernel):
        return inputs * outputs * kernel**2 + outputs

    expected = convolution(3, 64, 7) + convolution(64, 64, 1) + convolution(64, 192, 3)
    inputs, taps = 192, {}
    for name, w in MODULES.items():
        expected += convolution(inputs, w.one, 1) + convolution(inputs, w.pooled, 1)
        expected += convolution(inputs, w.three_reduce, 1) + convolution(w.three_reduce, w.three, 3)
        expected += convolution(inputs, w.five_reduce, 1) + convolution(w.five_reduce, w.five, 5)
        inputs = taps[name] = w.one + w.three + w.five + w.pooled
    expected += 1024 * 1000 + 1000
    plain = build_googlenet(num_classes=1000, aux_weight=0)
    assert count_parameters(plain)[0] == expected == 6_998_552
    side = sum(convolution(taps[name], 128, 1) for name in ("4a", "4d"))
    side += 2 * (2048 * 1024 + 1024 + 1024 * 1000 + 1000)
    whole = build_googlenet(num_classes=1000)
    assert count_parameters(whole)[0] == expected + side == 13_378_280
    assert count_flops(whole) == count_flops(plain)  # absent at inference


@pytest.mark.parametrize("name", SMALLEST)
def test_an_image_too_small_is_refused_with_the_minimum(name):
    side = SMALLEST[name]
    with pytest.raises(Exception, match=f"at least {side} px"):
        build_model(name, image_size=(side - 1, 200), num_classes=2)


@pytest.mark.parametrize("name", ["lenet", "alexnet", "vgg16", "resnet10"])
def test_the_smallest_image_is_taken(name):
    arguments: dict[str, Any] = {"head_units": (4,)} if name in ("alexnet", "vgg16") else {}
    side = SMALLEST[name]
    model = build_model(name, image_size=(side, side), num_classes=2, **arguments)
    assert model.output_shape == (None, 2)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vgg16", {"widths": (1, 2)}, "model.widths: five numbers"),
        ("alexnet", {"widths": (1, 2)}, "model.widths: five numbers"),
        ("resnet18", {"widths": (1, 2)}, "model.widths: four numbers"),
        ("resnext50", {"group_width": 5, "widths": (8, 8, 8, 8)}, "model.group_width: 8 x 5"),
        ("vgg16", {"batch_norm": "frozen"}, "model.batch_norm: 'frozen', but .*model.use_bn=true"),
        ("googlenet", {"batch_norm": "affine"}, "model.batch_norm: 'affine', but"),
        ("vgg16", {"depth": 19}, "takes no 'depth'"),
        ("lenet", {"activation": "tahn"}, "did you mean 'tanh'"),
    ],
)
def test_wrong_combinations_name_the_key(name, arguments, message):
    from tfskin.errors import UserError

    with pytest.raises(UserError, match=message):
        build_model(name, num_classes=2, image_size=(64, 64), **arguments)


def test_the_small_stem_keeps_the_resolution():
    small = build_model("resnet10", image_size=(64, 64), num_classes=2)
    assert small.get_layer("layer1_0_relu").output.shape[1:3] == (64, 64)
    large = build_model("resnet10", image_size=(64, 64), num_classes=2, small_stem=False)
    assert large.get_layer("layer1_0_relu").output.shape[1:3] == (16, 16)


@pytest.mark.parametrize(("placement", "first", "second"), [("v1", 2, 1), ("v1.5", 1, 2)])
def test_stride_placement(placement, first, second):
    model = build_model(
        "resnet50",
        image_size=(32, 32),
        num_classes=2,
        widths=(4, 4, 4, 4),
        stride_placement=placement,
    )
    assert model.get_layer("layer2_0_conv1").strides[0] == first
    assert model.get_layer("layer2_0_conv2").strides[0] == second
    assert not any(layer.use_bias for layer in model.layers if hasattr(layer, "kernel_size"))


def test_zero_gamma_makes_the_blocks_the_identity():
    model = build_model("resnet10", image_size=(32, 32), num_classes=2, zero_init_gamma=True)
    assert not model.get_layer("layer1_0_bn2").gamma.numpy().any()
    assert model.get_layer("layer1_0_bn1").gamma.numpy().all()


def test_the_head_is_what_follows_the_features():
    model = build_model("vgg16", image_size=(32, 32), num_classes=2, head_units=(4,), head_bn=None)
    names = [layer.name for layer in head_layers(model)]
    assert names == ["pool", "flatten", "fc1", "dropout1", "logits"]
    aux = build_googlenet(image_size=(32, 32), num_classes=2)
    heads = {layer.name for layer in head_layers(aux)}
    assert {"aux1_conv", "aux2_logits", "logits", "pool"} <= heads
    assert not any(name.startswith(("inception_5", "conv")) for name in heads)


def test_argument_errors_are_value_errors():
    with pytest.raises(ArgumentError):
        build_lenet(num_classes=2, image_size=(8, 8))
