"""Every YAML file that ships is built and takes a step."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from tests.training.test_fit import make_data
from tfskin.config import find_config, list_experiments, read_config, read_values, shipped_configs
from tfskin.experiment.fitting.network import build_network
from tfskin.experiment.fitting.stages import plan_stages
from tfskin.schema import ComparisonConfig, EnsembleConfig, ExperimentConfig
from tfskin.training.replicas import Replicas
from tfskin.training.stages import begin_stage

SMALLEST_SIDE = {"inception_v3": 75, "alexnet": 64}
MINUTES = {"resnext50"}
"""Networks whose step takes long: stepped under ``-m slow``."""


def experiments() -> Iterator[Any]:
    """Every experiment of every file, variants included."""
    for path in shipped_configs():
        values = read_values(path)
        if {"members", "fold"} & set(values):
            continue
        found = {"": read_config(path)} if "variants" not in values else {}
        if "variants" in values:
            found = list_experiments(read_config(path, (), ComparisonConfig))
        for variant, config in found.items():
            marks = pytest.mark.slow if config.model.name in MINUTES else ()
            yield pytest.param(config, id=f"{path.name}-{variant}".rstrip("-"), marks=marks)


def shrunk(config: ExperimentConfig) -> ExperimentConfig:
    """The same experiment on the smallest images, with narrow dense layers."""
    name = config.model.name
    if name == "five_layer":
        return config
    side = SMALLEST_SIDE.get(name, 32)
    changes: dict[str, Any] = {"image_size": (side, side)}
    if name in ("alexnet", "vgg16"):
        changes["head_units"] = (16,)
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})


@pytest.mark.parametrize("config", list(experiments()))
def test_an_experiment_takes_a_step(config):
    config = shrunk(config)
    weights = config.train.class_weights
    counts = dict.fromkeys(weights if isinstance(weights, dict) else "abc", 10)
    model, _ = build_network(config, num_classes=len(counts))
    seen = replace(make_data(), steps_per_epoch=10, class_counts=counts)
    data: Any = SimpleNamespace(images=seen, at=lambda _: seen, distribution=Replicas())
    config = config.model_copy(
        update={"train": config.train.model_copy(update={"feature_views": 0})}
    )
    begin_stage(model, plan_stages(config, data)[0], [])
    model.run_eagerly = True  # one step, many times sooner than tracing a graph of a large network
    before = [v.numpy().copy() for v in model.trainable_variables]
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (4, *config.model.image_size, 3)).astype("float32")
    for _ in range(config.train.accumulate):
        loss = model.train_on_batch(images, np.array([0, 1, 2, 0]))[0]
    assert np.isfinite(loss)
    assert any(
        (v.numpy() != old).any() for v, old in zip(model.trainable_variables, before, strict=True)
    )
    logits = model(images, training=False)
    assert logits.shape == (4, len(counts))
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
