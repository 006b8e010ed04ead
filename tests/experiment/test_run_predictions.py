"""Which images of other data sets are read, and which of them are known from training."""

import dataclasses

import pytest

import tfskin
from tfskin.errors import UserError
from tfskin.experiment.run_predictions import external_parts


def other_data(splits):
    classes = {"bad": ["melanoma"], "good": ["nevus"]}
    return tfskin.ExternalConfig(
        name="other", shards="x", splits=splits, classes=classes, fold=classes
    )


def test_folds_of_another_data_set_are_its_train_and_val(phantom_shards):
    shards = tfskin.load_shards(phantom_shards)
    counts: dict[str, dict[str, int]] = {"fold0": {}, "fold1": {}, "calibration": {}, "test": {}}
    dealt = dataclasses.replace(shards, counts=counts)
    every = ["train", "val", "calibration", "test"]
    assert external_parts(shards, other_data(every)) == every
    assert external_parts(dealt, other_data(every)) == list(counts)
    assert external_parts(dealt, other_data(["test"])) == ["test"]
    with pytest.raises(UserError, match="name both in splits, or neither"):
        external_parts(dealt, other_data(["val", "test"]))
