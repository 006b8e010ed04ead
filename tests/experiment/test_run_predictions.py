"""Which images of other data sets are read, and which of them are known from training."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import tfskin
from tfskin.errors import UserError
from tfskin.experiment.lineage import link_keys, seen_before, taught_images
from tfskin.experiment.run_predictions import check_class_names, check_logits, external_parts
from tfskin.runs import open_run


def test_an_image_of_the_archive_is_one_in_every_source(tiny_runs):
    run = open_run(tiny_runs[0])
    own = run.predictions("train")["image_id"].iloc[0]
    facts = pd.DataFrame(
        {"image_id": [own, own, "ISIC_0000001"], "source": ["phantom", "folder", "phantom"]}
    )
    assert seen_before(taught_images(run), facts).tolist() == [True, False, False]
    ids = pd.DataFrame(
        {"image_id": ["ISIC_0000001_downsampled", "ISIC_0000001", "x", "x"], "source": list("abab")}
    )
    assert link_keys(ids)["image"].nunique() == 3


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


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["Malignant", "nv", "malignant"], "'Malignant' and 'malignant' differ in case, blanks"),
        (["a b", "a_b"], "'a b' and 'a_b' differ in case, blanks"),
        (["mel\nnv", "bkl"], "holds a line break"),
        (["mel; nv", "bkl"], 'holds "; "'),
    ],
)
def test_class_names_that_cannot_be_told_apart_or_read_back_are_refused(names, message):
    with pytest.raises(UserError, match=message) as error:
        check_class_names(names)
    assert "\n" not in str(error.value)


def test_the_first_image_without_a_number_is_named():
    logits = np.zeros((3, 2))
    logits[1:, 0] = np.inf, np.nan
    facts = pd.DataFrame({"image_id": ["a", "b", "c"]})
    with pytest.raises(UserError, match=r"^here: .* for image 'b' and 1 more; train it again"):
        check_logits(logits, facts, "here")
    check_logits(logits[:1], facts[:1], "here")
