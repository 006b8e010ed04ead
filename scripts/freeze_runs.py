"""Makes three small finished and unfinished run folders, with their shards, to be kept for ever.

In an empty folder: shards of 120 drawn lesions, a five-layer net on RGB inputs (``runs/net``), one
on HSV inputs (``runs/hsv``), the ensemble of both (``runs/ensemble``), and the RGB net once more,
whose process is killed within its second epoch (``runs/stopped``). What later versions must be able
to load, evaluate, resume and export is kept; plots, report and TensorBoard files are not. Files
name folders relative to the folder that was filled, and say nothing of the machine.

    python scripts/freeze_runs.py tests/frozen/v2
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

NET = (
    *("model.image_size=32", "model.widths=[4, 4, 8, 8, 8]", "data.augment.rotation=30"),
    *("train.epochs=4", "train.batch_size=16", "train.learning_rate=1e-2"),
    "train.checkpoint_minutes=1e-9",
    *("evaluate.resamples=100", "evaluate.reliance_images=0", "evaluate.explained_images=0"),
)
SHARDS = "tfrecords/phantom/1.0.0"
DROPPED = ("plots", "tb", "report.html", "explained")
MACHINE = {"commit": None, "platform": "Linux", "processor": "x86_64", "cpus": 2}
# Dies when the n-th checkpoint is about to be written.
KILLED = """
import os, signal, sys, numpy
from itertools import count
numbers, save = count(1), numpy.savez
def die(file, **arrays):
    if next(numbers) == {n}:
        os.kill(os.getpid(), signal.SIGKILL)
    save(file, **arrays)
numpy.savez = die
from tfskin.cli.train import main
sys.argv[0] = "tfskin-train"
main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="to fill; must not be there yet")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True)
    freeze(folder)


def freeze(folder: Path) -> None:
    """Fill ``folder`` with shards and runs."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        make_shards()
        make_runs()
        make_stopped_run()
        for run in sorted(Path("runs").iterdir()):
            strip(run)
    finally:
        os.chdir(before)


def make_shards() -> None:
    import tfskin
    from tfskin.datasets.options import PhantomOptions, SourceOptions

    phantoms = PhantomOptions(lesions=120, image_size=(48, 64))
    options = tfskin.PrepareOptions(source=SourceOptions(phantom=phantoms))
    tfskin.prepare("phantom", output="tfrecords", options=options)


def make_runs() -> None:
    import tfskin

    for space, name in (("rgb", "net"), ("hsv", "hsv")):
        config = tfskin.read_config(f"five_layer_{space}.yaml", overrides(name))
        tfskin.train(config)
    members = ["runs/net", "runs/hsv"]
    judged = {"resamples": 100, "reliance_images": 8, "explained_images": 0}
    tfskin.ensemble(tfskin.EnsembleConfig(members=members, evaluate=judged))


def make_stopped_run() -> None:
    """Eight steps an epoch, a checkpoint after each: the thirteenth is that of the fifth step."""
    command = ["five_layer_rgb.yaml", *overrides("net"), "--output", "runs/stopped"]
    done = subprocess.run([sys.executable, "-c", KILLED.format(n=13), *command], check=False)
    if done.returncode != -signal.SIGKILL:
        raise SystemExit(f"the training was to be killed, and ended with {done.returncode}")


def overrides(name: str) -> Sequence[str]:
    return [*NET, f"name={name}", f"data.shards={SHARDS}"]


def strip(run: Path) -> None:
    """Leave out what is drawn, and what says where and on what machine the run was made."""
    for name in DROPPED:
        path = run / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for left in run.rglob(".writing-*"):
        left.unlink()
    inputs = json.loads((run / "inputs.json").read_text())
    write(run / "inputs.json", inputs | {"shards": SHARDS})
    environment = json.loads((run / "environment.json").read_text())
    write(run / "environment.json", environment | MACHINE)
    for path in run.rglob("*"):
        if path.is_file() and str(Path.cwd()).encode() in path.read_bytes():
            raise SystemExit(f"{path}: names a folder of this machine")


def write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
