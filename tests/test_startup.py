"""What the user set for other work in Keras does not matter, or one line names it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from tfskin.errors import UserError
try:
    from tfskin.startup import import_tensorflow_quietly
    import_tensorflow_quietly()
    import keras
    layer = keras.layers.Conv2D(3, 3)
    layout = layer.data_format, layer.dtype_policy.name
    print(keras.config.backend(), *layout, keras.config.epsilon())
    print(keras.src.backend.config.max_epochs(), keras.src.backend.config.max_steps_per_epoch())
except UserError as error:
    print(error)
"""


def start(home: Path, **environment: str) -> list[str]:
    """What a fresh process of that home folder prints; it must print no warnings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("KERAS_", "TF_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**kept, "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_keras_settings_of_the_user_do_not_matter(tmp_path):
    (tmp_path / ".keras").mkdir()
    settings = {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(settings | {"backend": "torch"}))
    found = start(tmp_path, KERAS_MAX_EPOCHS="1", KERAS_MAX_STEPS_PER_EPOCH="x", TF_CONFIG="broken")
    assert found == ["tensorflow channels_last float32 1e-07", "None None"]


@pytest.mark.parametrize("text", ['{"floatx": "float99"}', "[1]"])
def test_a_settings_file_that_keras_stumbles_over_is_named(tmp_path, text):
    (tmp_path / ".keras").mkdir()
    file = tmp_path / ".keras" / "keras.json"
    file.write_text(text)
    (line,) = start(tmp_path)
    assert line.startswith(f"{file}: Keras can't start with it (A")
    assert line.endswith("; mend or delete it")


def test_a_backend_that_is_not_there_is_named(tmp_path):
    (line,) = start(tmp_path, KERAS_BACKEND="nonsense")
    assert line.startswith("KERAS_BACKEND=nonsense: Keras can't start with it")
    assert line.endswith("; unset it")
