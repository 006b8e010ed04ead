import numpy as np
import pytest

import tfskin
from tests.conftest import TINY
from tfskin.datasets.sources import SourceOptions
from tfskin.datasets.sources.phantom import PhantomOptions
from tfskin.errors import UserError
from tfskin.runs import open_run
from tfskin.schema import EvaluateConfig


def silent(_: str) -> None:
    """Swallow the news."""


QUICK = EvaluateConfig(resamples=100, reliance_images=0, explained_images=0)


@pytest.mark.parametrize(
    "combination", ["mean_probabilities", "mean_logits", "weights", "stacking"]
)
def test_an_ensemble_is_a_run_like_any_other(tmp_path, tiny_runs, combination):
    config = tfskin.EnsembleConfig(
        members=[str(run) for run in tiny_runs],
        combination=combination,
        evaluate=QUICK,
    )
    run = tfskin.ensemble(config, output=tmp_path / "both", say=silent)
    metrics = run.metrics()
    assert [member["name"] for member in metrics["members"]] == ["rgb", "hsv"]
    assert set(metrics["splits"]) == {"train", "val", "calibration", "test"}
    assert (run.folder / "report.html").is_file()
    inside = run.decision()["inside_the_model"]
    assert inside["method"] == combination
    table = run.predictions("test")
    np.testing.assert_allclose(table[run.class_names()].sum(axis=1), 1, atol=1e-6)


def test_the_mean_is_the_mean_of_the_members(tmp_path, tiny_runs):
    config = tfskin.EnsembleConfig(
        members=[str(run) for run in tiny_runs],
        temperature=False,
        evaluate=QUICK,
    )
    run = tfskin.ensemble(config, output=tmp_path / "both", say=silent)
    names = run.class_names()
    expected = []
    for folder in tiny_runs:
        member = open_run(folder)
        logits = np.log(member.predictions("test")[names].to_numpy())
        logits *= member.decision()["temperature"]  # the members join without their temperature
        powers = np.exp(logits)
        expected.append(powers / powers.sum(axis=1, keepdims=True))
    found = run.predictions("test")[names].to_numpy()
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-5)


def test_an_ensemble_is_judged_on_another_data_set(tmp_path, tiny_runs, phantom_shards):
    config = tfskin.EnsembleConfig(members=[str(run) for run in tiny_runs], evaluate=QUICK)
    run = tfskin.ensemble(config, output=tmp_path / "both", say=silent)
    external = tfskin.ExternalConfig(
        name="elsewhere",
        shards=str(phantom_shards),
        splits=("val", "test"),
        classes={"bad": ["melanoma"], "good": ["nevus"]},
        fold={"bad": ["melanoma"], "good": ["nevus"]},
    )
    metrics = tfskin.evaluate(run, external=external, say=silent)
    assert list(metrics["splits"]) == ["elsewhere"]
    folder = run.folder / "external" / "elsewhere"
    assert (folder / "report.html").is_file()
    both = [open_run(run.folder).metrics()["splits"][split]["images"] for split in ("val", "test")]
    assert metrics["splits"]["elsewhere"]["images"] == sum(both)


def test_other_classes_shards_and_splits_are_refused(tmp_path, tiny_runs, phantom_shards):
    def refuse(overrides, message, shards=phantom_shards):
        folder = tmp_path / message.replace(" ", "_")
        config = tfskin.read_config(None, [*TINY, f"data.shards={shards}", *overrides])
        config = config.model_copy(update={"train": config.train.model_copy(update={"epochs": 1})})
        run = tfskin.train(config, output=folder, say=silent)
        pair = tfskin.EnsembleConfig(members=[str(tiny_runs[0]), str(run.folder)])
        with pytest.raises(UserError, match=message):
            tfskin.ensemble(pair, output=tmp_path / "never", say=silent)
        assert not (tmp_path / "never").exists()

    refuse(["data.classes={a: [nevus], b: [melanoma]}"], "classes differ")
    refuse(["data.classes={melanoma: [melanoma], nevus: [nevus]}"], "other diagnoses")
    refuse(["model.image_size=40"], "image_size")
    other = tfskin.prepare(
        "phantom",
        output=tmp_path / "tfrecords",
        options=tfskin.PrepareOptions(
            seed=5,
            source=SourceOptions(phantom=PhantomOptions(lesions=60, image_size=(48, 64))),
        ),
        say=silent,
    )
    refuse([], "other shards or splits", other.folder)


def test_the_same_run_twice_or_an_unfinished_one_is_refused(tmp_path, tiny_runs):
    twice = tfskin.EnsembleConfig(members=[str(tiny_runs[0]), str(tiny_runs[0])])
    with pytest.raises(UserError, match="twice"):
        tfskin.ensemble(twice, output=tmp_path / "never", say=silent)
    missing = tfskin.EnsembleConfig(members=[str(tiny_runs[0]), str(tmp_path / "nowhere")])
    with pytest.raises(UserError, match="nowhere"):
        tfskin.ensemble(missing, output=tmp_path / "never", say=silent)
