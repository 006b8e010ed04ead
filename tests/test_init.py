"""The public face: what is there, and that it costs nothing until used."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import tfskin


def test_every_public_name_is_found_and_documented():
    for name in tfskin.__all__:
        value = getattr(tfskin, name)
        if not name.startswith("__"):
            assert value.__doc__, name
    assert set(tfskin.__all__) <= set(dir(tfskin))


def test_type_checkers_see_the_same_names_in_the_same_rooms():
    stub = ast.parse(Path(tfskin.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    found = {
        alias.asname: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert found == vars(tfskin)["_HOMES"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tfskin.nonsense  # type: ignore[attr-defined]


def test_importing_tfskin_loads_nothing_heavy():
    code = "import tfskin, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"tensorflow", "keras", "numpy", "pandas", "pydantic", "typer"}


@pytest.mark.parametrize("imports", ["import tfskin, keras", "import keras, tfskin"])
def test_keras_loads_the_model_of_a_run_once_tfskin_is_imported(tiny_runs, imports):
    code = (
        f"{imports}\n"
        f"model = keras.saving.load_model({str(tiny_runs[0] / 'model.keras')!r})\n"
        "print(model.output_shape, [metric.name for metric in model.metrics])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(None, 2)")


@pytest.mark.parametrize(
    "name", ["audit", "prepare", "train", "ensemble", "evaluate", "export", "predict"]
)
def test_help_loads_no_tensorflow(name):
    code = (
        "import sys\n"
        f"sys.argv = ['tfskin-{name}', '--help']\n"
        f"from tfskin.cli.{name} import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "assert not {'tensorflow', 'keras', 'pandas'} & set(sys.modules)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--debug" in done.stdout


def test_tensorflow_starts_without_chatter():
    code = "import tfskin; tfskin.build_model('five_layer', num_classes=2)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == ""
