"""Progressive learning: the steps, the shared weights, one schedule over all stages."""

import keras
import numpy as np
import pytest

import tfskin
from tests.conftest import TINY
from tfskin.errors import UserError
from tfskin.experiment.fitting.network import build_network
from tfskin.experiment.fitting.stages import TrainingData, plan_stages
from tfskin.models import build_model
from tfskin.training.progressive import at_size, list_progress, split_epochs
from tfskin.training.updates import inner_optimizer

KEYS = ["train.progressive.stages=3", "train.progressive.size=0.5", "train.epochs=4"]


def test_everything_rises_in_equal_steps_to_the_whole():
    found = list_progress(3, image_size=(64, 96), size=0.5, dropout=0.0, strength=0.4)
    assert [p.size for p in found] == [(32, 48), (48, 72), (64, 96)]
    assert [p.dropout for p in found] == pytest.approx([0, 0.5, 1])
    assert [p.strength for p in found] == pytest.approx([0.4, 0.7, 1])
    assert split_epochs(10, 4) == [2, 2, 3, 3]


def test_a_network_at_another_size_has_the_same_weights():
    model = build_model("five_layer", image_size=(64, 64), num_classes=2, widths=(4,) * 5)
    small = at_size(model, (32, 48))
    assert small.input_shape == (None, 32, 48, 3)
    assert {id(v) for v in small.variables} == {id(v) for v in model.variables}
    images = np.random.default_rng(0).uniform(0, 255, (1, 32, 48, 3)).astype("float32")
    own = build_model("five_layer", image_size=(32, 48), num_classes=2, widths=(4,) * 5)
    own.set_weights(model.get_weights())
    np.testing.assert_allclose(small(images), own(images), atol=1e-6)


def test_one_schedule_runs_through_all_stages(tmp_path, phantom_shards):
    config = tfskin.read_config("five_layer_rgb.yaml", [*KEYS, "train.warmup_epochs=1"])
    plain = tfskin.read_config("five_layer_rgb.yaml", ["train.epochs=4", "train.warmup_epochs=1"])
    shards = tfskin.load_shards(phantom_shards)

    def rates(of_config):
        found = []
        data = TrainingData(of_config, shards, ["melanoma", "nevus"], tmp_path)
        steps = data.images.steps_per_epoch
        for stage in plan_stages(of_config, data):
            model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, name="logits")])
            stage.compile(model)
            schedule = inner_optimizer(model.optimizer)._learning_rate
            found += [float(schedule(step)) for step in range(steps * stage.epochs)]
        return found

    assert rates(config) == pytest.approx(rates(plain), rel=1e-5)


def test_a_size_too_small_is_said_before_anything_trains():
    config = tfskin.read_config("five_layer_rgb.yaml", [*KEYS, "train.progressive.size=0.1"])
    with pytest.raises(UserError, match=r"^train.progressive.size: .*5 x 5 px is too small"):
        build_network(config, num_classes=2)


def test_dense_layers_of_one_size_are_said_before_anything_trains():
    keys = [*KEYS, "model.name=googlenet", "model.widths=null", "model.image_size=128"]
    config = tfskin.read_config("five_layer_rgb.yaml", keys)
    with pytest.raises(UserError, match=r"fit one image size only.*choose model.aux_weight=0"):
        build_network(config, num_classes=2)


def test_a_run_grows_and_is_kept_at_full_size(tmp_path, phantom_shards, monkeypatch, news):
    # Each epoch is worse than the one before, but the first is judged at another size.
    monkeypatch.setattr("tfskin.training.fit._monitored", lambda row, _: -row["epoch"])
    keys = [*TINY, "model.image_size=48", f"data.shards={phantom_shards}"]
    keys += ["train.epochs=3", "train.progressive.stages=2", "train.progressive.size=0.67"]
    config = tfskin.read_config("five_layer_rgb.yaml", keys)
    run = tfskin.train(config, output=tmp_path / "run")
    assert any(line.startswith("images of 32 x 32 px, dropout x 0.30") for line in news)
    assert any(line.startswith("images of 48 x 48 px, dropout x 1.00") for line in news)
    assert run.load_model().input_shape == (None, 48, 48, 3)
    assert run.metrics()["training"]["epochs"] == 3
    assert run.metrics()["training"]["best_epoch"] == 2
