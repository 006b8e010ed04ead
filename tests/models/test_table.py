"""Looking a network up by its name."""

import pytest

from tfskin.errors import UserError
from tfskin.models import MODELS, build_model, builder_arguments
from tfskin.schema import ModelConfig

KEYS = set(ModelConfig.model_fields) - {"name", "resize", "options"}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_arguments_are_keys_of_the_config(name):
    arguments = set(builder_arguments(name)) - {"num_classes"}
    assert arguments <= KEYS
    # Keys without a "network's own default" are passed to every network.
    assert {"image_size", "color_space", "batch_norm"} <= arguments


def test_unknown_network_gets_a_hint():
    with pytest.raises(UserError, match=r"model.name: no network 'five_layers' \(did you mean"):
        build_model("five_layers", num_classes=2)


def test_unknown_argument_names_the_key():
    with pytest.raises(UserError, match=r"model.width: .* takes no 'width' \(did you mean 'widths"):
        build_model("five_layer", num_classes=2, width=(1,))


def test_none_keeps_the_default():
    model = build_model("five_layer", num_classes=2, dropout=None, widths=None, activation=None)
    assert model.get_layer("dropout").rate == 0.3


def test_config_builds_the_default_network():
    config = ModelConfig.model_validate({})
    arguments = config.model_dump(exclude={"name", "resize", "options"})
    model = build_model(config.name, num_classes=2, **arguments)
    assert model.input_shape == (None, 96, 96, 3)
