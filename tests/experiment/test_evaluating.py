"""What evaluation writes, decides and shows, and what it says where something is missing."""

import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest

import tfskin
from tests.browser import open_page
from tfskin.ensembling import as_float32, fit_temperature
from tfskin.errors import UserError
from tfskin.evaluation.calibration import Calibration, calibrate
from tfskin.evaluation.decision_fit import choose_malignant, fit_decision
from tfskin.experiment.predicting import load_predictor, stream_predictions
from tfskin.experiment.run_predictions import load_run_shards, predict_logits
from tfskin.inputs import read_labels, read_samples
from tfskin.runs import HELD_OUT_FILE, open_run
from tfskin.schema import EvaluateConfig

SMALL = EvaluateConfig(resamples=100, reliance_images=0, explained_images=0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_runs):
    """A run that was judged with everything turned on."""
    folder = tmp_path_factory.mktemp("whole")
    config = EvaluateConfig(resamples=100, reliance_images=6, explained_images=2, miss_cost=5)
    metrics = tfskin.evaluate(tiny_runs[0], config=config, output=folder)
    return folder, metrics


def test_metrics_hold_what_the_schema_says(whole):
    folder, metrics = whole
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["schema_version"] == 2
    assert metrics["headline"] == "test"
    for name in ("malignant", "calibration", "conformal", "subgroups", "reliance"):
        assert metrics[name] is not None
    decision = json.loads((folder / "decision.json").read_text())
    assert decision["split"] == "calibration"
    assert decision["malignant"] == ["melanoma"]
    assert list(decision["thresholds"]) == [
        "sensitivity_0.9",
        "sensitivity_0.95",
        "specificity_0.9",
        "cost_5",
    ]
    assert set(decision["conformal"]["per_class"]) == {"melanoma", "nevus"}
    points = metrics["malignant"]["splits"]["calibration"]["operating_points"]
    # On the split that they were chosen on, thresholds reach their targets.
    assert points["sensitivity_0.9"]["sensitivity"]["value"] >= 0.9
    assert points["specificity_0.9"]["specificity"]["value"] >= 0.9
    assert metrics["conformal"]["splits"]["calibration"]["coverage"]["value"] >= 0.9
    assert set(metrics["calibration"]["methods"]) == {"none", "temperature", "isotonic"}
    for heading in ("dark corners", "hair", "sticker", "any artefact"):
        assert metrics["subgroups"]["headings"][heading]["recorded"] is True, heading
    assert metrics["subgroups"]["headings"]["sex"]["recorded"] is True
    assert metrics["reliance"]["images"] == min(6, metrics["splits"]["test"]["images"])


def test_the_report_stands_a_real_browser(whole, tmp_path):
    with open_page(whole[0] / "report.html", tmp_path) as page:
        assert [e for e in page.events if e["method"] == "Runtime.exceptionThrown"] == []
        assert [e for e in page.events if e["method"] == "Log.entryAdded"] == []
        requests = [
            event["params"]["request"]["url"]
            for event in page.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        assert requests
        assert all(url.startswith(("file:", "data:")) for url in requests)
        sizes = page.run(
            "[...document.images].map(i => [i.naturalWidth, i.clientWidth, i.clientHeight, "
            "+i.getAttribute('width'), i.alt.length])"
        )
        assert len(sizes) >= 8
        assert all(min(size) > 0 for size in sizes)
        # A click sorts by number, a second one the other way.
        table = "document.querySelector('[aria-label^=\"Operating points\"] table')"
        keys = f"[...{table}.tBodies[0].rows].map(r => +r.children[1].dataset.sort)"
        for order in (False, True):
            page.run(f"{table}.querySelectorAll('thead button')[1].click()")
            found = page.run(keys)
            assert found == sorted(found, reverse=order)
        assert page.run(f"{table}.querySelectorAll('th')[1].ariaSort") == "descending"
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=360, height=740, deviceScaleFactor=1, mobile=True,
        )  # fmt: skip
        assert page.run("document.documentElement.scrollWidth") <= 360
        light = page.run("getComputedStyle(document.body).backgroundColor")
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        page.call("Emulation.setEmulatedMedia", features=dark)
        assert page.run("getComputedStyle(document.body).backgroundColor") != light
        printed = page.call("Page.printToPDF")["data"]
        assert len(printed) > 10_000


def test_isotonic_calibration_is_applied_to_every_prediction(tmp_path, tiny_runs):
    config = SMALL.model_copy(update={"calibration": "isotonic"})
    metrics = tfskin.evaluate(tiny_runs[0], config=config, output=tmp_path)
    decision = json.loads((tmp_path / "decision.json").read_text())
    assert decision["calibration"]["method"] == "isotonic"
    assert metrics["calibration"]["chosen"] == "isotonic"
    run = open_run(tiny_runs[0])
    names = run.class_names()
    before = run.predictions("test")[names].to_numpy()  # after temperature alone
    expected = calibrate(before, Calibration.model_validate(decision["calibration"]), names)
    found = pd.read_csv(tmp_path / "predictions" / "test.csv")[names].to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_half_precision_run_is_judged_by_what_predicts(tmp_path, half_precision_run):
    run = open_run(half_precision_run)
    model, shards, names = run.load_model(), load_run_shards(run), run.class_names()
    assert "bfloat16" in {layer.compute_dtype for layer in model.layers}
    paths = []
    for number, sample in enumerate(read_samples(shards, limit=6)):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(sample.data)
    rows = list(stream_predictions(load_predictor(run), paths))
    judged = run.predictions("train")[names].to_numpy()
    np.testing.assert_allclose([row.probabilities for row in rows], judged[:6], atol=1e-5)
    # The temperature too comes from the copy that it is applied to.
    logits = predict_logits(as_float32(model), shards, "calibration", run.inputs())
    labels = read_labels(shards, "calibration", None)["label"].to_numpy()
    assert run.decision().temperature == pytest.approx(fit_temperature(logits, labels), rel=1e-6)


def test_malignant_classes_are_known_named_or_asked_for(news):
    classes = {"melanoma": ["mel"], "nevus": ["nv"]}
    assert choose_malignant(classes, None) == ["melanoma"]
    assert choose_malignant(classes, ["nevus"]) == ["nevus"]
    assert choose_malignant(classes, []) == []
    assert news == []
    assert choose_malignant({"a": ["mel", "nv"], "b": []}, None) == []
    assert "not known whether malignant: a, b" in news[-1]
    assert choose_malignant({"mel": [], "bcc": []}, None) == []
    assert "every class is malignant" in news[-1]
    with pytest.raises(UserError, match="did you mean 'melanoma'"):
        choose_malignant(classes, ["melanoam"])
    with pytest.raises(UserError, match="names every class"):
        choose_malignant(classes, ["melanoma", "nevus"])


def test_without_a_calibration_split_there_is_no_decision_but_a_word(tiny_runs, news):
    classes = {"melanoma": ["melanoma"], "nevus": ["nevus"]}
    decision = fit_decision(open_run(tiny_runs[0]).decision(), None, classes, SMALL)
    assert decision.thresholds == {}
    assert "conformal" not in decision.to_dict()
    assert "no calibration split" in news[-1]


def test_what_follows_stacking_is_fitted_on_what_it_held_out(tmp_path, tiny_runs):
    folder = tmp_path / "run"
    shutil.copytree(tiny_runs[0], folder)

    def judge(output):
        tfskin.evaluate(folder, config=SMALL, output=tmp_path / output)
        return json.loads((tmp_path / output / "decision.json").read_text())

    before = judge("before")
    run = open_run(folder)
    held_out = np.log(run.predictions("calibration")[run.class_names()].to_numpy())[:, ::-1]
    np.save(folder / HELD_OUT_FILE, held_out)
    after = judge("after")
    assert after["thresholds"] != before["thresholds"]
    facts = read_labels(load_run_shards(run), "calibration", None)
    classes = {name: [name] for name in run.class_names()}
    expected = fit_decision(run.decision(), (facts, held_out), classes, SMALL)
    assert after == expected.to_dict()


def test_a_calibration_split_of_one_kind_has_only_the_thresholds_that_it_can(tiny_runs, news):
    facts = pd.DataFrame({"label": 1, "group": np.arange(40)})
    logits = np.log(np.random.default_rng(0).dirichlet(np.ones(2), 40))
    classes = {"melanoma": ["melanoma"], "nevus": ["nevus"]}
    decision = fit_decision(open_run(tiny_runs[0]).decision(), (facts, logits), classes, SMALL)
    assert list(decision.thresholds) == ["specificity_0.9"]
    assert "no malignant image: no threshold for sensitivity_0.9" in news[-1]
    assert decision.to_dict()["conformal"]["per_class"]["melanoma"] == 1


def test_a_model_without_numbers_is_named(tmp_path, tiny_runs):
    folder = tmp_path / "nan"
    shutil.copytree(tiny_runs[0], folder)
    model = open_run(folder).load_model()
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    model.save(folder / "model.keras")
    keras.backend.clear_session()
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(UserError, match=r"model\.keras: block1_conv/kernel is no number"):
        tfskin.evaluate(folder, config=SMALL)
    assert (folder / "metrics.json").read_bytes() == before


def other_data(shards, **changes):
    """The phantoms again, as if they were another data set."""
    classes = {"bad": ["melanoma"], "good": ["nevus"]}
    values = {"name": "other", "shards": str(shards), "splits": ["test"], **changes}
    return tfskin.ExternalConfig(classes=classes, fold=classes, **values)


def test_another_data_set_never_overwrites_a_runs_own_figures(tiny_runs, phantom_shards):
    before = (tiny_runs[0] / "metrics.json").read_bytes()
    for folder in tiny_runs:
        with pytest.raises(UserError, match="is a run; choose another --output"):
            tfskin.evaluate(
                tiny_runs[0],
                external=other_data(phantom_shards),
                config=SMALL,
                output=folder,
            )
    assert (tiny_runs[0] / "metrics.json").read_bytes() == before


def test_images_of_another_data_set_that_a_run_was_trained_on_are_counted(
    tmp_path, tiny_runs, phantom_shards, news
):
    both = other_data(phantom_shards, splits=["val", "test"])
    for external, expected in [
        (other_data(phantom_shards), 0),
        (both, open_run(tiny_runs[0]).metrics()["splits"]["val"]["images"]),
    ]:
        news.clear()
        metrics = tfskin.evaluate(tiny_runs[0], external=external, config=SMALL, output=tmp_path)
        assert metrics["trained_on"] == expected
        assert any("was trained on" in line for line in news) == bool(expected)
        report = (tmp_path / "report.html").read_text(encoding="utf-8")
        shown = f"trained on {expected} of these" if expected else "trained on none of these"
        assert shown in report


def test_without_the_runs_shards_nobody_knows_what_it_was_trained_on(
    tmp_path, tiny_runs, phantom_shards, news
):
    run = tmp_path / "moved"
    shutil.copytree(tiny_runs[0], run)
    inputs = json.loads((run / "inputs.json").read_text())
    (run / "inputs.json").write_text(json.dumps({**inputs, "shards": str(tmp_path / "gone")}))
    external = other_data(phantom_shards)
    metrics = tfskin.evaluate(run, external=external, config=SMALL)
    assert metrics["trained_on"] is None
    assert "not known whether moved was trained on its images" in "".join(news)
    report = (run / "external" / "other" / "report.html").read_text(encoding="utf-8")
    assert "is not known" in report
