"""Features of a frozen backbone: the same training as the long way, and never a stale file."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfskin
from tests.conftest import TINY
from tests.training.test_fit import SAVE, Killed, killing, weights_of, without_times
from tests.training.test_stages import fit_stages
from tfskin.errors import UserError
from tfskin.experiment.fitting.data import input_options
from tfskin.experiment.fitting.features import FeatureCache, feature_seconds
from tfskin.experiment.fitting.network import build_network
from tfskin.experiment.fitting.stages import TrainingData, plan_stages
from tfskin.files import read_json
from tfskin.inputs import class_names, make_dataset
from tfskin.inputs.features import make_feature_dataset
from tfskin.training.checkpoints import save_checkpoint
from tfskin.training.features import split_head
from tfskin.training.fit import FitOptions

STAGES = (
    "train.stages=[{unfreeze: head, epochs: 3, batch_norm: {backbone: frozen, head: update}}, "
    "{unfreeze: all, epochs: 1}]"
)


@pytest.fixture(scope="module")
def shards(phantom_shards):
    return tfskin.load_shards(phantom_shards)


def make_config(phantom_shards, *more):
    keys = [*TINY, STAGES, "model.dropout=0.3", "train.feature_views=2", *more]
    return tfskin.read_config("five_layer_rgb.yaml", [*keys, f"data.shards={phantom_shards}"])


def train(config, shards, folder, minutes=0.0):
    """The fit of a run, without what comes before and after."""
    names = class_names(shards, None)
    stages = plan_stages(config, TrainingData(config, shards, names, folder))
    model, _ = build_network(config, num_classes=len(names))
    return model, fit_stages(model, stages, FitOptions(folder, checkpoint_minutes=minutes))


@pytest.fixture(scope="module")
def cached(tmp_path_factory, phantom_shards, shards):
    folder = tmp_path_factory.mktemp("cached")
    model, state = train(make_config(phantom_shards), shards, folder)
    return folder, model, state


def test_a_head_on_kept_features_ends_like_one_trained_the_long_way(
    tmp_path, phantom_shards, shards, cached
):
    config = make_config(phantom_shards, "train.feature_cache=off")
    long, state = train(config, shards, tmp_path)
    for row, other in zip(state.history, cached[2].history, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert row["val_loss"] == pytest.approx(other["val_loss"], abs=1e-5)
    for one, other in zip(long.weights, cached[1].weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5)
    assert not (tmp_path / "features").exists()
    assert feature_seconds(tmp_path) == (0, 0)
    assert len(read_json(cached[0] / "features.json")) == 3  # two views of train, and val
    assert all(seconds > 0 for seconds in feature_seconds(cached[0]))
    kept = keras.saving.load_model(cached[0] / "model.keras", compile=False)
    assert [w.shape for w in kept.weights] == [w.shape for w in long.weights]


def test_a_stopped_head_goes_on_as_if_it_had_not_stopped(
    tmp_path, monkeypatch, phantom_shards, shards, cached, news
):
    config = make_config(phantom_shards)
    with monkeypatch.context() as patch:
        patch.setattr(SAVE, killing(save_checkpoint, 5))
        with pytest.raises(Killed):
            train(config, shards, tmp_path, minutes=1e-9)
    model, state = train(config, shards, tmp_path)
    lines = news[:]
    assert any(line.startswith("going on after epoch 1 and step") for line in lines), lines
    assert sum(": from " in line for line in lines) == 3  # two views of train, and val
    assert without_times(state.history) == without_times(cached[2].history)
    for one, other in zip(weights_of(model), weights_of(cached[1]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_features_come_in_the_order_of_their_images(shards, phantom_shards):
    options = replace(input_options(make_config(phantom_shards)), augment=None)
    files = np.concatenate([x.numpy() for x, _ in make_dataset(shards, "train", options=options)])
    labels = np.concatenate([y.numpy() for _, y in make_dataset(shards, "train", options=options)])
    features = files.mean(axis=(1, 2))
    for epoch, skip in ((None, 0), (0, 0), (3, 2)):
        given: dict[str, Any] = {"options": options, "epoch": epoch, "skip_batches": skip}
        of_images = list(make_dataset(shards, "train", **given))
        batches = list(make_feature_dataset(features, labels, **given))
        assert len(batches) == len(of_images)
        for (found, of_class), (images, truth) in zip(batches, of_images, strict=True):
            np.testing.assert_allclose(found, images.numpy().mean(axis=(1, 2)), rtol=1e-5)
            np.testing.assert_array_equal(of_class, truth)


def test_a_view_is_an_epochs_changes_in_the_order_of_the_files(shards, phantom_shards):
    options = input_options(make_config(phantom_shards))
    plain = replace(options, augment=None)

    def bags(**given):
        return sorted(
            image.tobytes()
            for images, _ in make_dataset(shards, "val", **given)
            for image in images.numpy()
        )

    assert bags(options=options, view=1) == bags(options=options, epoch=1)
    assert bags(options=options, epoch=2, view=1) == bags(options=options, epoch=1)
    assert bags(options=options, view=1) != bags(options=plain)


def test_a_file_of_other_weights_data_or_changes_is_not_read(
    tmp_path, shards, phantom_shards, news
):
    config = make_config(phantom_shards)
    model, _ = build_network(config, num_classes=2)
    backbone, _ = split_head(model)
    options = input_options(config)

    def cache(**changes):
        changed = replace(options, **changes)
        return FeatureCache(tmp_path, backbone, shards, changed)

    first = cache()
    values = np.array(first.load("val", 0))
    path = first.path("val", 0)
    same, _ = build_network(config, num_classes=2)
    again = FeatureCache(tmp_path, split_head(same)[0], shards, options)
    assert again.path("val", 0) == path
    assert first.path("val", 1) != path
    assert first.path("val", None) != path
    assert cache(seed=1).path("val", 0) != path
    assert cache(augment=None).path("val", 0) != path
    assert cache(resize="crop").path("val", 0) != path
    assert cache(seed=1).path("val", None) == first.path("val", None)
    # The fingerprint names the content alone, but features are paired with labels by their place.
    [file] = shards.files["val"]
    records = [record.numpy() for record in tf.data.TFRecordDataset(file)]
    with tf.io.TFRecordWriter(str(tmp_path / "turned")) as writer:
        for record in reversed(records):
            writer.write(record)
    turned = replace(shards, files={**shards.files, "val": [str(tmp_path / "turned")]})
    assert FeatureCache(tmp_path, backbone, turned, options).path("val", 0) != path
    other = replace(shards, fingerprint="another")
    assert FeatureCache(tmp_path, backbone, other, options).path("val", 0) != path
    kernel = next(weight for weight in backbone.weights if len(weight.shape) == 4)
    kernel.assign(kernel + 1e-4)
    assert cache().path("val", 0) != path
    kernel.assign(kernel - 1e-4)

    path.write_bytes(path.read_bytes()[:200])  # torn by something else
    np.testing.assert_allclose(again.load("val", 0), values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.stages=[]"], "no stage trains the head alone"),
        (["data.augment.mixup=0.2"], "mixed images have no features"),
    ],
)
def test_what_has_no_features_to_keep_is_said(tmp_path, phantom_shards, shards, overrides, message):
    config = make_config(phantom_shards, *overrides)
    with pytest.raises(UserError, match=message):
        train(config, shards, tmp_path)
