"""The wheel works without the checkout: configs and the report's template are in it."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_what_the_commands_need(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(installed)
    assert not [name for name in names if name.startswith(("tests/", "runs/", "tfrecords/"))]
    shipped = {path.name for path in (installed / "tfskin" / "configs").glob("*.yaml")}
    assert shipped == {path.name for path in (ROOT / "configs").glob("*.yaml")}
    assert (installed / "tfskin/evaluation/templates/report.html.j2").is_file()
    assert (installed / "tfskin/py.typed").is_file()
    code = (
        "import tfskin; c = tfskin.read_config('five_layer_hsv.yaml');"
        "print(c.model.color_space, tfskin.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["hsv", str(installed / "tfskin" / "__init__.py")]
