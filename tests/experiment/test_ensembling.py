import json
import shutil

import numpy as np
import pytest

import tfskin
from tfskin.ensembling import Combiner, as_float32, fit_combiner
from tfskin.errors import UserError
from tfskin.evaluation.calibration import softmax
from tfskin.experiment.run_predictions import load_run_shards, predict_logits
from tfskin.inputs import read_labels
from tfskin.runs import HELD_OUT_FILE, open_run
from tfskin.schema import EvaluateConfig

QUICK = EvaluateConfig(resamples=100, reliance_images=0, explained_images=0)


@pytest.fixture(scope="module")
def mean_of_both(tmp_path_factory, tiny_runs):
    """The mean of both tiny runs, without a temperature."""
    config = tfskin.EnsembleConfig(
        members=[str(run) for run in tiny_runs],
        combination="mean_probabilities",
        temperature=False,
        evaluate=QUICK,
    )
    return tfskin.ensemble(config, output=tmp_path_factory.mktemp("mean") / "both")


def check_run(run, combination):
    metrics = run.metrics()
    assert [member["name"] for member in metrics["members"]] == ["rgb", "hsv"]
    assert set(metrics["splits"]) == {"train", "val", "calibration", "test"}
    assert (run.folder / "report.html").is_file()
    assert run.decision().inside_the_model["method"] == combination
    table = run.predictions("test")
    np.testing.assert_allclose(table[run.class_names()].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    "combination", [pytest.param("mean_logits", marks=pytest.mark.slow), "weights", "stacking"]
)
def test_an_ensemble_is_a_run_like_any_other(tmp_path, tiny_runs, combination):
    config = tfskin.EnsembleConfig(
        members=[str(run) for run in tiny_runs],
        combination=combination,
        evaluate=QUICK,
    )
    run = tfskin.ensemble(config, output=tmp_path / "both")
    check_run(run, combination)
    assert (run.folder / HELD_OUT_FILE).is_file() == (combination == "stacking")


def test_the_mean_is_the_mean_of_the_members(tiny_runs, mean_of_both):
    check_run(mean_of_both, "mean_probabilities")
    names = mean_of_both.class_names()
    expected = []
    for folder in tiny_runs:
        member = open_run(folder)
        logits = np.log(member.predictions("test")[names].to_numpy())
        logits *= member.decision().temperature  # the members join without their temperature
        powers = np.exp(logits)
        expected.append(powers / powers.sum(axis=1, keepdims=True))
    found = mean_of_both.predictions("test")[names].to_numpy()
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-5)


def test_half_precision_members_are_weighed_as_they_are_joined(
    tmp_path, tiny_runs, half_precision_run
):
    folders = [tiny_runs[0], half_precision_run]
    config = tfskin.EnsembleConfig(
        members=list(map(str, folders)), combination="weights", evaluate=QUICK
    )
    run = tfskin.ensemble(config, output=tmp_path / "both")
    shards = load_run_shards(run)
    labels = read_labels(shards, "calibration", None)["label"].to_numpy()
    models = [as_float32(open_run(folder).load_model()) for folder in folders]
    logits = [predict_logits(model, shards, "calibration", run.inputs()) for model in models]
    expected = fit_combiner([softmax(one) for one in logits], labels, method="weights")
    found = Combiner.from_dict(run.decision().inside_the_model)
    np.testing.assert_allclose(found.weights, expected.combiner.weights, atol=1e-6)
    assert found.temperature == pytest.approx(expected.combiner.temperature, rel=1e-6)


def test_an_ensemble_is_judged_on_another_data_set(tmp_path, mean_of_both, phantom_shards):
    external = tfskin.ExternalConfig(
        name="elsewhere",
        shards=str(phantom_shards),
        splits=("val", "test"),
        classes={"bad": ["melanoma"], "good": ["nevus"]},
        fold={"bad": ["melanoma"], "good": ["nevus"]},
    )
    metrics = tfskin.evaluate(mean_of_both, external=external, output=tmp_path)
    assert list(metrics["splits"]) == ["elsewhere"]
    assert (tmp_path / "report.html").is_file()
    own = mean_of_both.metrics()["splits"]
    both = [own[split]["images"] for split in ("val", "test")]
    assert metrics["splits"]["elsewhere"]["images"] == sum(both)


def test_other_classes_shards_and_splits_are_refused(tmp_path, tiny_runs):
    first = json.loads((tiny_runs[1] / "inputs.json").read_text())

    def refuse(message, *, names=None, **inputs):
        folder = tmp_path / message.replace(" ", "_")
        shutil.copytree(tiny_runs[1], folder)
        (folder / "inputs.json").write_text(json.dumps({**first, **inputs}))
        if names is not None:
            (folder / "class_names.json").write_text(json.dumps(names))
        pair = tfskin.EnsembleConfig(members=[str(tiny_runs[0]), str(folder)])
        with pytest.raises(UserError, match=message):
            tfskin.ensemble(pair, output=tmp_path / "never")
        assert not (tmp_path / "never").exists()

    refuse("classes differ", names=["a", "b"])
    refuse("other diagnoses", classes={"melanoma": ["melanoma"], "nevus": ["nevus"]})
    refuse("image_size", image_size=[40, 40])
    refuse("other shards or splits", fingerprint="0" * 64)


def test_an_ensemble_is_overwritten_when_the_new_one_is_whole(
    tmp_path, monkeypatch, tiny_runs, mean_of_both
):
    folder = shutil.copytree(mean_of_both.folder, tmp_path / "both")
    (folder / "external").mkdir()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    config = tfskin.EnsembleConfig(members=list(map(str, tiny_runs)), name="new", evaluate=QUICK)

    def stop(run, **_):
        assert run.model_path.is_file()
        assert (run.name, run.home) == ("both", folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tfskin.experiment.ensembling.evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            tfskin.ensemble(config, output=folder, overwrite=True)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert [path.name for path in tmp_path.iterdir()] == ["both"]
    tfskin.ensemble(config, output=folder, overwrite=True)
    assert not (folder / "external").exists()
    assert "name: new" in (folder / "config.yaml").read_text()
    assert open_run(folder).metrics()["run"] == "both"
    assert f"tfskin-evaluate {folder}" in (folder / "report.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["both"]


def test_an_ensemble_is_no_member(tmp_path, tiny_runs, mean_of_both):
    config = tfskin.EnsembleConfig(members=[str(tiny_runs[0]), str(mean_of_both.folder)])
    with pytest.raises(UserError, match="both: is an ensemble; name its members instead"):
        tfskin.ensemble(config, output=tmp_path / "never")


def test_keys_for_members_that_are_runs_are_refused(tmp_path, tiny_runs):
    config = tfskin.EnsembleConfig(members=list(map(str, tiny_runs)))
    with pytest.raises(UserError, match=r"^train\.epochs=3: every member is a run"):
        tfskin.ensemble(config, overrides=["train.epochs=3"], output=tmp_path / "never")


def test_the_same_run_twice_or_an_unfinished_one_is_refused(tmp_path, tiny_runs):
    twice = tfskin.EnsembleConfig(members=[str(tiny_runs[0]), str(tiny_runs[0])])
    with pytest.raises(UserError, match="twice"):
        tfskin.ensemble(twice, output=tmp_path / "never")
    missing = tfskin.EnsembleConfig(members=[str(tiny_runs[0]), str(tmp_path / "nowhere")])
    with pytest.raises(UserError, match="nowhere"):
        tfskin.ensemble(missing, output=tmp_path / "never")
