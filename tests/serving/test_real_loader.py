"""The export as TensorFlow Serving loads it: in C++, without Python or Keras."""

import shutil
import socket
import subprocess
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.cpp_loader import NoCompiler, compile_loader, run_loader
from tests.serving.images import broken_files, encode, encode_turned, make_image
from tests.serving.mutations import count_faults, mutate
from tfskin.prediction.predictors import server_predictor
from tfskin.serving.options import ServerOptions


@pytest.fixture(scope="session")
def loader(tmp_path_factory):
    try:
        return compile_loader(tmp_path_factory.getbasetemp())
    except NoCompiler as reason:
        pytest.skip(f"the C++ loader cannot be compiled: {reason}")


@pytest.fixture(scope="session")
def files():
    turned = encode_turned(make_image(5), 6, ">")
    return [
        *(encode(make_image(seed), kind) for seed, kind in enumerate(("JPEG", "PNG", "BMP"))),
        encode(make_image(3).convert("P"), "GIF"),
        turned,
        *broken_files().values(),
    ]


def test_every_signature_gives_python_s_numbers(loader, ensemble_export, files, tmp_path):
    loaded = tf.saved_model.load(str(ensemble_export))
    arrays = np.random.default_rng(0).uniform(0, 255, (3, 40, 50, 3))
    for name, signature in loaded.signatures.items():
        (argument, spec), *_ = signature.structured_input_signature[1].items()
        given = files if spec.dtype == tf.string else arrays.astype(spec.dtype.as_numpy_dtype)
        expected = signature(**{argument: tf.constant(given)})
        (answers,) = run_loader(loader, ensemble_export, name, [given], tmp_path)
        assert set(answers) == set(expected), name
        for output, values in answers.items():
            wanted = expected[output].numpy()
            if wanted.dtype == np.float32:
                np.testing.assert_allclose(values, wanted, atol=1e-5, err_msg=f"{name}.{output}")
            else:
                assert values.tolist() == wanted.tolist(), f"{name}.{output}"


def test_no_mutation_crashes_the_loader(loader, ensemble_export, files, tmp_path):
    inputs = list(mutate(files[:5], count=320, seed=7))
    answers = run_loader(loader, ensemble_export, "serving_default", [inputs], tmp_path, batch=16)
    assert sum(len(batch["valid"]) for batch in answers) == len(inputs)
    assert count_faults(answers) == 0
    valid = np.concatenate([batch["valid"] for batch in answers])
    assert 0.05 < valid.mean() < 0.95  # or the mutations would try little


def test_saved_model_cli_shows_and_runs_it(ensemble_export, files, tmp_path, capsys):
    from tensorflow.python.tools import saved_model_cli

    def call(*words):
        args = saved_model_cli.create_parser().parse_args([*map(str, words)])
        args.func()
        return capsys.readouterr().out

    folder = ["--dir", ensemble_export]
    shown = call("show", *folder, "--all")
    for signature in ("serving_default", "images", "images_uint8", "features", "explain"):
        assert f"signature_def['{signature}']" in shown
    np.save(tmp_path / "files.npy", np.array(files[:2]))
    words = ["--tag_set", "serve", "--signature_def", "serving_default"]
    inputs = ["--inputs", f"image_bytes={tmp_path / 'files.npy'}", "--outdir", tmp_path]
    call("run", *folder, *words, *inputs)
    loaded = tf.saved_model.load(str(ensemble_export))
    expected = loaded.signatures["serving_default"](image_bytes=tf.constant(files[:2]))
    written = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(written, expected["probabilities"], atol=1e-5)


def test_tensorflow_model_server_answers(ensemble_export, files):
    program = shutil.which("tensorflow_model_server")
    if program is None:
        pytest.skip("tensorflow_model_server is not on the PATH")
    ports = [_free_port(), _free_port()]
    command = [program, f"--port={ports[0]}", f"--rest_api_port={ports[1]}"]
    command += ["--model_name=lesions", f"--model_base_path={ensemble_export.parent}"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(ports[0])
        options = ServerOptions(retries=20)
        rest = server_predictor(f"http://localhost:{ports[1]}/v1/models/lesions", options=options)
        grpc = server_predictor(f"grpc://localhost:{ports[0]}/lesions", options=options)
        loaded = tf.saved_model.load(str(ensemble_export))
        expected = loaded.signatures["serving_default"](image_bytes=tf.constant(files))
        for predictor in (rest, grpc):
            answers = predictor.function(files)
            np.testing.assert_allclose(answers.probabilities, expected["probabilities"], atol=1e-5)
    finally:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def _wait_for(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
