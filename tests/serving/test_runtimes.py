import dataclasses
import json

import keras
import numpy as np
import pytest

from tests.serving.conftest import SAMPLES, build_members
from tests.serving.images import make_image
from tests.serving.test_saved_model import AlwaysTraining
from tfskin.errors import UserError
from tfskin.layers import ColorSpace
from tfskin.serving import runtimes
from tfskin.serving.portable import PortableColorSpace
from tfskin.serving.runtimes import RuntimeExport, export_runtime, load_litert, load_onnx

LOADERS = {"onnx": load_onnx, "litert": load_litert}


@pytest.mark.parametrize("size", [(16, 20), (15, 9)])
@pytest.mark.parametrize("space", ["rgb", "hsv", "fft"])
def test_portable_colour_spaces_are_the_networks(space, size):
    noise = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype(np.float32)
    smooth = np.asarray(make_image(0, height=size[0], width=size[1]), np.float32)
    flat = [np.full((*size, 3), level, np.float32) for level in (0, 200)]
    pure = np.zeros((*size, 3), np.float32)
    pure[..., 0], pure[:5, :, 2] = 255, 255
    images = np.stack([*noise, smooth, *flat, pure])
    expected = ColorSpace(space)(images)
    found = PortableColorSpace(space)(images)
    np.testing.assert_allclose(found, expected, atol=2e-4 if space == "fft" else 2e-6)


@pytest.mark.parametrize("runtime", ["onnx", "litert"])
def test_another_runtime_gives_the_ensemble_s_probabilities(
    runtime, ensemble_model, ensemble_graph, tmp_path
):
    pytest.importorskip("tf2onnx" if runtime == "onnx" else "ai_edge_litert")
    options = RuntimeExport(ensemble_graph, tmp_path, "lesions", runtime)
    path = export_runtime(ensemble_model, options=options, samples=SAMPLES)
    images = np.random.default_rng(0).uniform(0, 255, (5, 32, 32, 3)).astype(np.float32)
    expected = ensemble_graph.decision.to_probabilities(ensemble_model.predict_on_batch(images))
    run = LOADERS[runtime](path)
    np.testing.assert_allclose(run(images), expected, atol=1e-4)
    np.testing.assert_allclose(run(images[:1]), expected[:1], atol=1e-4)
    contract = json.loads((tmp_path / f"{path.name}.json").read_text("utf-8"))
    assert contract["class_names"] == ["bkl", "mel", "nv"]
    assert contract["input"]["shape"] == [None, 32, 32, 3]
    assert contract["max_difference_from_keras"] <= 1e-4
    assert contract["bytes"] == path.stat().st_size


@pytest.mark.parametrize(
    "wish", [{"float16_weights": True}, {"test_time_augmentation": True}, {"max_pixels": 1000}]
)
def test_what_a_runtime_cannot_do_is_refused(ensemble_model, ensemble_graph, tmp_path, wish):
    graph = dataclasses.replace(ensemble_graph, **wish)
    with pytest.raises(UserError, match="SavedModel only"):
        export_runtime(
            ensemble_model, options=RuntimeExport(graph, tmp_path, "x", "onnx"), samples=SAMPLES
        )
    assert not list(tmp_path.iterdir())


def test_a_runtime_that_differs_from_keras_is_refused(ensemble_graph, tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes, "_write_litert", lambda model, path: path.write_bytes(b"x"))
    wrong = lambda path: lambda images: np.zeros((len(images), 3))  # noqa: E731
    monkeypatch.setattr(runtimes, "load_litert", wrong)
    member, options = build_members()[0], RuntimeExport(ensemble_graph, tmp_path, "x", "litert")
    with pytest.raises(UserError, match="differ by"):
        export_runtime(member, options=options, samples=SAMPLES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("runtime", ["onnx", "litert"])
def test_a_model_that_depends_on_its_batch_is_refused(
    runtime, ensemble_graph, tmp_path, monkeypatch
):
    monkeypatch.setattr(runtimes, f"_write_{runtime}", lambda model, path: path.write_bytes(b"x"))
    image = keras.Input((32, 32, 3), name="image")
    x = AlwaysTraining()(keras.layers.GlobalAveragePooling2D()(image))
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(x))
    options = RuntimeExport(ensemble_graph, tmp_path, "x", runtime)
    with pytest.raises(UserError, match="other images of the batch"):
        export_runtime(model, options=options, samples=SAMPLES)
    assert not list(tmp_path.iterdir())
