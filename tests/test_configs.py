"""Every YAML file that ships is built and takes a step."""

import keras
import numpy as np
import pytest

from tfskin.config import (
    EnsembleConfig,
    find_config,
    read_config,
    read_values,
    shipped_configs,
)
from tfskin.experiment.network import build_compiled


def is_experiment(path):
    return not {"members", "fold"} & set(read_values(path))


@pytest.mark.parametrize(
    "path", [p for p in shipped_configs() if is_experiment(p)], ids=lambda path: path.name
)
def test_an_experiment_takes_a_step(path):
    config = read_config(path)
    model, _ = build_compiled(config, num_classes=3, steps_per_epoch=10, say=lambda _: None)
    before = [v.numpy().copy() for v in model.trainable_variables]
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (4, *config.model.image_size, 3)).astype("float32")
    loss = model.train_on_batch(images, np.array([0, 1, 2, 0]))[0]
    assert np.isfinite(loss)
    assert any(
        (v.numpy() != old).any() for v, old in zip(model.trainable_variables, before, strict=True)
    )
    logits = model(images, training=False)
    assert logits.shape == (4, 3)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


@pytest.mark.parametrize(
    "path",
    [p for p in shipped_configs() if "members" in read_values(p)],
    ids=lambda path: path.name,
)
def test_an_ensemble_names_configs_that_belong_together(path):
    members = [read_config(find_config(m)) for m in read_config(path, (), EnsembleConfig).members]
    assert len({member.name for member in members}) == len(members)
    assert len({member.data.shards for member in members}) == 1
    assert len({member.model.image_size for member in members}) == 1
