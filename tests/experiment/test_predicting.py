from itertools import islice

import keras
import numpy as np
import pytest

from tests.serving.images import encode, make_image
from tfskin.errors import UserError
from tfskin.experiment.predicting import load_predictor, stream_predictions
from tfskin.files import write_json
from tfskin.prediction.answers import Answers
from tfskin.prediction.options import PredictOptions, StreamOptions
from tfskin.prediction.predictors import Predictor

NAMES = ["bkl", "mel", "nv"]


def thirds(encoded):
    """No model: every class is as likely."""
    return Answers(np.full((len(encoded), 3), 1 / 3, "float32"), np.array(list(map(bool, encoded))))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_stopped_call_goes_on_with_the_names_of_its_annotated_images(tmp_path, suffix):
    for seed, name in enumerate(["a/x.jpg", "b/x.jpg", "c/x.jpg", "d/x.jpg"]):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_bytes(encode(make_image(seed)))
    (tmp_path / "b/x.jpg").write_bytes(b"")
    predictor = Predictor(NAMES, thirds, "thirds")
    folders = [tmp_path / name for name in "abcd"]

    def rows(part):
        options = PredictOptions(
            output=tmp_path / f"{part}{suffix}",
            annotate=tmp_path / part,
            stream=StreamOptions(batch_size=1),
        )
        return stream_predictions(predictor, folders, options=options)

    assert len(list(rows("whole"))) == 4
    stopped = rows("stopped")
    assert len(list(islice(stopped, 3))) == 3
    stopped.close()
    assert len(list(rows("stopped"))) == 1
    whole, stopped = (
        {path.name: path.read_bytes() for path in (tmp_path / part).iterdir()}
        for part in ("whole", "stopped")
    )
    assert sorted(whole) == ["x_predicted.jpg", "x_predicted_2.jpg", "x_predicted_3.jpg"]
    assert stopped == whole


def test_a_stopped_call_goes_on_with_the_same_model_only(tmp_path):
    run = tmp_path / "run"
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(x))
    inputs = {"shards": "gone", "fingerprint": "0", "classes": None}
    write_json(run / "inputs.json", inputs | {"image_size": [8, 8], "resize": "squash"})
    write_json(run / "class_names.json", NAMES)
    write_json(run / "decision.json", {"temperature": 1.0})
    model.save(run / "model.keras")
    for seed in range(2):
        (tmp_path / f"{seed}.jpg").write_bytes(encode(make_image(seed)))
    options = PredictOptions(tmp_path / "out.csv", stream=StreamOptions(batch_size=1))

    def rows(predictor):
        return stream_predictions(predictor, [tmp_path], options=options)

    stopped = rows(load_predictor(run))
    next(stopped)
    stopped.close()
    write_json(run / "decision.json", {"temperature": 2.0})
    with pytest.raises(UserError, match="another model"):
        next(rows(load_predictor(run)))
    write_json(run / "decision.json", {"temperature": 1.0})
    weights = (run / "model.keras").read_bytes()
    model.layers[-1].bias.assign([1, 0, 0])
    model.save(run / "model.keras")
    with pytest.raises(UserError, match="another model"):
        next(rows(load_predictor(run)))
    (run / "model.keras").write_bytes(weights)
    assert len(list(rows(load_predictor(run)))) == 1
