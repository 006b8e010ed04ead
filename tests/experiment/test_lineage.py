"""What a run was taught on, and that its held-out images are not among it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import tfskin
from tests.conftest import TINY
from tfskin.datasets.options import PhantomOptions, PrepareOptions, SourceOptions
from tfskin.errors import UserError
from tfskin.experiment.lineage import (
    FORMER_FILE,
    find_overlap,
    link_keys,
    run_overlap,
    seen_before,
    taught_images,
)
from tfskin.files import read_json, write_json
from tfskin.runs import open_run


@pytest.fixture(scope="module")
def other_seed(tmp_path_factory):
    """The phantoms of ``phantom_shards``, split by another seed."""
    phantoms = PhantomOptions(lesions=60, image_size=(48, 64))
    options = PrepareOptions(source=SourceOptions(phantom=phantoms), seed=1)
    output = tmp_path_factory.mktemp("other_seed")
    return tfskin.prepare("phantom", output=output, options=options).folder


def config_of(shards, weights, *more):
    words = [*TINY, "train.epochs=1", f"data.shards={shards}", f"model.weights={weights}"]
    return tfskin.read_config("five_layer_rgb.yaml", [*words, *more])


def facts_of(*rows):
    columns = ["image_id", "lesion_id", "patient_id", "source", "group"]
    return pd.DataFrame(rows, columns=columns)


def test_an_id_of_the_archive_is_one_in_every_source_and_any_other_in_its_own():
    facts = facts_of(
        ("ISIC_0000001_downsampled", "HAM_1", "IP_1", "a", 0),
        ("ISIC_0000001", "HAM_1", "IP_1", "b", 1),
        ("x", "1", "1", "a", 2),
        ("x", "1", "1", "b", 3),
        ("y", "", "", "b", 4),
    )
    keys = link_keys(facts)
    assert keys.nunique().to_list() == [4, 4, 4]  # the empty text counts
    assert [keys["lesion"][4], keys["patient"][4]] == ["", ""]


@pytest.mark.parametrize("shared", ["image", "lesion", "patient"])
def test_a_group_is_known_by_any_of_its_images_lesions_or_patients(shared):
    taught = link_keys(facts_of(("i", "l", "p", "s", 0)))
    mine = {"image": ("i", "", ""), "lesion": ("j", "l", ""), "patient": ("j", "", "p")}[shared]
    facts = facts_of((*mine, "s", 7), ("k", "", "", "s", 7), ("m", "", "", "s", 8))
    assert seen_before(taught, facts).tolist() == [True, True, False]


def test_unknown_ids_link_nothing():
    taught = link_keys(facts_of(("i", "", "", "s", 0)))
    assert not seen_before(taught, facts_of(("j", "", "", "s", 0))).any()


def test_start_weights_that_know_the_held_out_images_are_refused(
    tmp_path, tiny_runs, phantom_shards, other_seed
):
    for weights in (tiny_runs[0], tiny_runs[0] / "model.keras"):
        with pytest.raises(UserError, match=r"images of test \(\d+ groups\).*data.allow_overlap"):
            tfskin.train(config_of(other_seed, weights), output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    # Of the same split, nothing of the held-out images is known.
    run = tfskin.train(config_of(phantom_shards, tiny_runs[0]), output=tmp_path / "same")
    assert run.metrics()["overlap"] == {}


def test_what_is_asked_for_stands_in_figures_report_and_card_and_goes_on_with_the_weights(
    tmp_path, tiny_runs, phantom_shards, other_seed, news
):
    first = shutil.copytree(tiny_runs[0], tmp_path / "first")
    expected = find_overlap(taught_images(open_run(first)), tfskin.load_shards(other_seed))
    assert set(expected) == {"val", "calibration", "test"}
    # Counted by hand: the images of test whose lesion or patient was in train or val before.
    old, new = (pd.read_csv(folder / "splits.csv") for folder in (phantom_shards, other_seed))
    known = set(old["image_id"][old["split"].isin(["train", "val"])])
    test = new[new["split"] == "test"]
    groups = test["group"][test["image_id"].isin(known)]
    assert expected["test"]["images"] == int(test["group"].isin(groups).sum())

    asked = config_of(other_seed, first, "data.allow_overlap=true")
    second = tfskin.train(asked, output=tmp_path / "second")
    assert second.metrics()["overlap"] == expected
    text = f"{expected['test']['images']} of {expected['test']['of']} images of test"
    assert text in (second.folder / "report.html").read_text(encoding="utf-8")
    exported = tfskin.export(second, output=tmp_path / "exports")
    assert text in (exported / "assets.extra" / "MODEL_CARD.md").read_text(encoding="utf-8")

    plain = tfskin.train(asked.model_copy(update={"seed": 2}), output=tmp_path / "plain")
    shutil.rmtree(first)  # what it was taught on is known all the same
    assert tfskin.evaluate(second)["overlap"] == expected
    with pytest.raises(UserError, match=r"images of test"):
        tfskin.train(config_of(phantom_shards, second.folder), output=tmp_path / "third")
    third = tfskin.train(
        config_of(other_seed, second.folder, "data.allow_overlap=true"), output=tmp_path / "third"
    )
    assert third.metrics()["overlap"].keys() == expected.keys()

    # A member whose own config does not ask for it is not joined unless the ensemble does.
    members = [str(second.folder), str(plain.folder)]
    both = tfskin.ensemble(tfskin.EnsembleConfig(members=members), output=tmp_path / "both")
    assert both.metrics()["overlap"] == expected
    path = plain.folder / "config.yaml"
    path.write_text(path.read_text().replace("allow_overlap: true", "allow_overlap: false"))
    with pytest.raises(UserError, match=r"plain: its start weights were taught on .*test"):
        tfskin.ensemble(tfskin.EnsembleConfig(members=members), output=tmp_path / "refused")


def test_a_run_of_a_version_that_noted_nothing_is_followed_to_its_weights(
    tmp_path, tiny_runs, other_seed
):
    asked = config_of(other_seed, tiny_runs[0], "data.allow_overlap=true")
    run = tfskin.train(asked, output=tmp_path / "run")
    expected = run_overlap(run)
    (run.folder / FORMER_FILE).unlink()
    assert run_overlap(run) == expected != {}
    about = read_json(run.folder / "environment.json")
    gone = {**about["weights"], "source": str(tmp_path / "gone" / "model.keras")}
    write_json(run.folder / "environment.json", about | {"weights": gone})
    assert run_overlap(run) is None


def test_an_external_data_set_is_compared_with_former_runs_too(tmp_path, tiny_runs, other_seed):
    asked = config_of(other_seed, tiny_runs[0], "data.allow_overlap=true")
    run = tfskin.train(asked, output=tmp_path / "run")
    shards = tfskin.load_shards(other_seed)
    names = {name: [name] for name in ("melanoma", "nevus")}
    external = tfskin.ExternalConfig(
        name="same", shards=str(shards.folder), splits=("test",), classes=names, fold=names
    )
    metrics = tfskin.evaluate(run, external=external, resamples=100)
    assert metrics["trained_on"] == run.metrics()["overlap"]["test"]["images"] > 0
    assert json.dumps(metrics["trained_on"])
    assert np.isfinite(metrics["trained_on"])
