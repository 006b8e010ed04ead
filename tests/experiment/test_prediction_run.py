from itertools import islice

import numpy as np
import pytest

from tests.serving.pictures import encode, make_picture
from tfskin.experiment.prediction_run import PredictOptions, stream_predictions
from tfskin.prediction import Answers, Predictor, StreamOptions

NAMES = ["bkl", "mel", "nv"]


def silent(_: str) -> None:
    """Swallow the news."""


def thirds(encoded):
    """No model: every class is as likely."""
    return Answers(np.full((len(encoded), 3), 1 / 3, "float32"), np.array(list(map(bool, encoded))))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_stopped_call_goes_on_with_the_names_of_its_annotated_pictures(tmp_path, suffix):
    for seed, name in enumerate(["a/x.jpg", "b/x.jpg", "c/x.jpg", "d/x.jpg"]):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_bytes(encode(make_picture(seed)))
    (tmp_path / "b/x.jpg").write_bytes(b"")
    predictor = Predictor(NAMES, thirds, "thirds")
    folders = [tmp_path / name for name in "abcd"]

    def rows(part):
        options = PredictOptions(
            tmp_path / f"{part}{suffix}", tmp_path / part, StreamOptions(batch_size=1)
        )
        return stream_predictions(predictor, folders, options=options, say=silent)

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
