import numpy as np
import pytest
import requests

from tests.serving.fake_serving import Behaviour, serve_model
from tests.serving.images import encode, make_image
from tfskin.errors import UserError
from tfskin.prediction.options import StreamOptions
from tfskin.prediction.predictors import saved_model_predictor, server_predictor
from tfskin.prediction.stream import predict_images
from tfskin.serving.client import connect
from tfskin.serving.options import ServerOptions


@pytest.fixture(scope="module")
def behaviour():
    return Behaviour()


@pytest.fixture(scope="module")
def urls(ensemble_export, behaviour):
    with serve_model(ensemble_export, "lesions", behaviour) as (rest, grpc):
        yield {
            "rest": f"http://127.0.0.1:{rest}/v1/models/lesions",
            "grpc": f"grpc://127.0.0.1:{grpc}/lesions",
        }


@pytest.fixture(scope="module")
def local(ensemble_export):
    return saved_model_predictor(ensemble_export)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_server_answers_as_the_saved_model(urls, local, way, tmp_path):
    for seed in range(3):
        (tmp_path / f"{seed}.jpg").write_bytes(encode(make_image(seed)))
    (tmp_path / "3.webp").write_bytes(encode(make_image(3), "WEBP"))
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    remote = server_predictor(urls[way])
    assert remote.class_names == local.class_names == ["bkl", "mel", "nv"]
    assert remote.extras == ("malignancy", "prediction_set")
    assert remote.version == "1"
    options = StreamOptions(batch_size=2, heat_maps=True)
    paths = sorted(tmp_path.iterdir())
    pairs = zip(
        predict_images(remote, paths, options=options),
        predict_images(local, paths, options=options),
        strict=True,
    )
    for one, other in pairs:
        assert one.error == other.error
        assert one.prediction_set == other.prediction_set
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
        if other.heat_map is not None:
            assert one.heat_map is not None
            np.testing.assert_allclose(one.heat_map.values, other.heat_map.values, atol=1e-4)


def test_the_request_beside_an_export_is_answered_as_curl_sends_it(urls, ensemble_export, local):
    sent = (ensemble_export.parent / "request.json").read_bytes()
    answer = requests.post(f"{urls['rest']}:predict", data=sent, timeout=60)
    (row,) = answer.json()["predictions"]
    assert (row["valid"], row["reason"], row["class_names"]) == (True, "", local.class_names)
    expected = local.function([encode(make_image(0))]).probabilities[0]
    np.testing.assert_allclose(row["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_an_overloaded_server_is_asked_again(urls, behaviour, way):
    predictor = server_predictor(urls[way])
    asked = len(behaviour.requests)
    behaviour.fail_first = 1
    assert predictor.function([encode(make_image(0))]).valid.all()
    assert len(behaviour.requests) == asked + 2
    behaviour.fail_first = 1
    without = connect(urls[way], ServerOptions(retries=0))
    with pytest.raises(UserError, match="overloaded"):
        without.predict("serving_default", [b""])
    behaviour.fail_first = 0


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_slow_server_is_not_waited_for_forever(urls, behaviour, way):
    client = connect(urls[way], ServerOptions(timeout=0.2, retries=1))
    behaviour.delay = 2
    with pytest.raises(UserError, match=r"no answer within 0.2 seconds"):
        client.predict("serving_default", [b""])
    behaviour.delay = 0


def test_a_model_or_server_that_is_not_there_is_named(urls):
    for url in (urls["rest"] + "x", urls["grpc"] + "x"):
        client = connect(url, ServerOptions(retries=0))
        with pytest.raises(UserError, match="not found"):
            client.signatures() if url.startswith("http") else client.predict("explain", [b""])
    for url in ("http://127.0.0.1:9/v1/models/x", "grpc://127.0.0.1:9/x"):
        with pytest.raises(UserError, match="is the server running"):
            server_predictor(url, options=ServerOptions(retries=0, timeout=5))


@pytest.mark.parametrize(
    "url", ["http://host:8501", "http://host/v1/models/", "grpc://host/x", "ftp://host:1/x"]
)
def test_urls_of_another_form_are_refused(url):
    with pytest.raises(UserError, match="must be http://host:8501/v1/models/NAME"):
        connect(url)
