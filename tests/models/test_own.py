"""A network and a loss of one's own: the same contract, and a run that knows what it needs."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

import tfskin
from tests.conftest import TINY
from tfskin import UserError
from tfskin.layers import BatchNorm
from tfskin.models import build_model
from tfskin.testing import check_batch_independence, check_loss, check_network, maker

MODULE = """
import keras


@keras.saving.register_keras_serializable(package="own_parts")
class Double(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2


@keras.saving.register_keras_serializable(package="own_parts")
class Squared(keras.losses.Loss):
    def __init__(self, power=2.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def call(self, truth, logits):
        if len(truth.shape) == 1:
            truth = keras.ops.one_hot(truth, logits.shape[-1])
        truth, logits = (keras.ops.cast(value, "float32") for value in (truth, logits))
        gap = keras.ops.softmax(logits) - truth
        return keras.ops.sum(keras.ops.abs(gap) ** self.power, axis=-1)

    def get_config(self):
        return super().get_config() | {"power": self.power}


def squared(*, counts, power=2.0):
    return Squared(power)


def flat(*, counts):
    return keras.losses.MeanSquaredError()


def build(*, image_size, num_classes, width=4):
    image = keras.Input((*image_size, 3), name="image", dtype="float32")
    x = keras.layers.Conv2D(width, 3, strides=4, activation="tanh")(Double()(image / 255))
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pool")(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits)


def softmaxed(*, image_size, num_classes):
    x = keras.layers.Flatten()(image := keras.Input((*image_size, 3), name="image"))
    return keras.Model(image, keras.layers.Dense(num_classes, "softmax", name="logits")(x))


def small(*, image_size, num_classes):
    return build(image_size=(16, 16), num_classes=num_classes)


def leaky(*, image_size, num_classes):
    image = keras.Input((*image_size, 3), name="image")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(image / 255)
    x = x - keras.ops.mean(x, axis=0, keepdims=True)
    return keras.Model(image, keras.layers.Dense(num_classes, name="logits")(x))


def failing(*, image_size, num_classes):
    raise RuntimeError("no weights")


def nothing(*, image_size, num_classes):
    pass

"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, in which ``own_parts.py`` lies."""
    (tmp_path / "own_parts.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    forget()


def forget() -> None:
    """Let this process be one that has not imported the module."""
    sys.modules.pop("own_parts", None)
    registered = keras.saving.get_custom_objects()
    for name in [name for name in registered if name.startswith("own_parts>")]:
        del registered[name]


def test_ones_own_network_keeps_the_contract(own):
    policies = ("float32", "mixed_bfloat16")
    check_network("own_parts:build", policies=policies, image_size=(16, 24))


def test_a_network_that_looks_at_its_batch_is_found_out(own):
    make = maker("own_parts:leaky", image_size=(16, 16))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_batch_independence(make)


def test_its_batch_normalisation_gets_a_mode_and_its_options_come_from_the_config(own):
    modes = {"backbone": "frozen", "head": "update"}
    model = build_model(
        "own_parts:build", image_size=(16, 16), num_classes=2, batch_norm=modes, color_space="rgb"
    )
    [norm] = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
    assert norm.mode == "frozen"
    wide = build_model("own_parts:build", image_size=(16, 16), num_classes=2, width=6)
    assert wide.get_layer("norm").gamma.shape == (6,)


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [
        ("build", {"color_space": "hsv"}, r"model\.color_space: .* takes no 'color_space'"),
        ("build", {"widht": 4}, r"model\.widht: .*did you mean 'width'"),
        ("softmaxed", {}, "layer 'logits' has the activation 'softmax'"),
        ("small", {}, r"its images are float32 of shape \(None, 16, 16, 3\) and must be"),
        ("failing", {}, "failed: RuntimeError: no weights"),
        ("nothing", {}, "returns NoneType; a network is a functional keras.Model"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_one_line(own, function, arguments, said):
    with pytest.raises(UserError, match=said) as caught:
        build_model(f"own_parts:{function}", image_size=(32, 32), num_classes=2, **arguments)
    assert "\n" not in str(caught.value)


def test_ones_own_loss_keeps_the_contract_or_it_is_said_which_part_it_breaks(own):
    check_loss("own_parts:squared", power=3.0)
    with pytest.raises(UserError, match=r"train\.loss_options: loss .* takes no 'powr'"):
        check_loss("own_parts:squared", powr=3.0)
    with pytest.raises(AssertionError, match=r"takes labels \(N,\) and logits"):
        check_loss("own_parts:flat")


def test_a_run_of_ones_own_parts_says_what_it_needs(own, phantom_shards, monkeypatch):
    config = tfskin.read_config(
        "five_layer_rgb.yaml",
        [
            *(key for key in TINY if not key.startswith("model.")),
            "model={name: 'own_parts:build', image_size: 32, options: {width: 5}}",
            "train.loss='own_parts:squared'",
            "train.loss_options={power: 1.5}",
            f"data.shards={phantom_shards}",
        ],
    )
    run = tfskin.train(config, output="run")
    assert json.loads(Path("run/environment.json").read_text())["imports"] == ["own_parts"]
    forget()
    assert run.load_model().get_layer("norm").gamma.shape == (5,)
    forget()
    (own / "own_parts.py").rename(own / "elsewhere.py")
    with pytest.raises(UserError, match="are defined in 'own_parts', which cannot be imported"):
        run.load_model()
    with pytest.raises(UserError, match=r"^model\.name: .*: no module 'own_parts'; install"):
        build_model(config.model.name, num_classes=2)
