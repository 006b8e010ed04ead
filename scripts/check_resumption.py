"""Kills trainings with ``kill -9`` at random moments, resumes them, and compares with undisturbed.

Each round trains the same experiment: phantoms, many random changes, MixUp, dropout, two stages,
accumulation, averaged weights, patience, a checkpoint every 60 ms. The process is killed up to
three times, at moments that are drawn from the seed and fall on start-up, in the middle of epochs,
in writes and on the evaluation; then ``tfskin-train --resume`` is left to finish. What it ends with
must be, bit for bit, what an uninterrupted process ended with: weights of the best epoch, the last
checkpoint (weights, optimizer, loss scale, dropout seeds, early stopping), history, predictions,
figures. Rounds alternate between float32 and mixed_float16.

    python scripts/check_resumption.py --rounds 20 --seed 0
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np
import pandas as pd

AUGMENT = (
    "data.augment={rotation: 180, zoom: 0.2, shear: 5, shift: 0.1, brightness: 0.1, "
    "contrast: 0.1, saturation: 0.1, hue: 0.05, erasing: 0.5, crop: [0.6, 1.0], mixup: 0.2}"
)
STAGES = (
    "train.stages=[{unfreeze: head, epochs: 1, batch_norm: {backbone: frozen, head: update}}, "
    "{unfreeze: all, epochs: 3, learning_rate: 3.0e-4, depth_decay: 0.3}]"
)
EXPERIMENT = (
    *(AUGMENT, STAGES, "model.dropout=0.3", "model.image_size=32", "train.batch_size=4"),
    "model.widths=[8, 8, 16, 16, 16]",
    *("train.patience=2", "train.ema=0.9", "train.accumulate=2", "train.checkpoint_minutes=0.001"),
    *("evaluate.resamples=100", "evaluate.reliance_images=0", "evaluate.explained_images=0"),
)
POLICIES = ("float32", "mixed_float16")
KILLS = 3


@dataclass(frozen=True)
class Whole:
    """An undisturbed run and how long its process took, and its training began after."""

    folder: Path
    seconds: float
    start_up: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="trainings that are killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--lesions", type=int, default=120, help="phantom lesions")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        failed = check(Path(folder), options.rounds, options.seed, options.lesions)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    minutes = (used.ru_utime + used.ru_stime) / 60
    print(
        f"{options.rounds - failed} of {options.rounds} resumed trainings equal bit for bit, "
        f"{minutes:.1f} processor minutes"
    )
    sys.exit(1 if failed else 0)


def check(folder: Path, rounds: int, seed: int, lesions: int) -> int:
    """The number of rounds whose end differs from the undisturbed run's."""
    shards = prepare(folder, lesions)
    draw = random.Random(seed)
    wholes: dict[str, Whole] = {}
    failed = 0
    for number in range(rounds):
        policy = POLICIES[number % len(POLICIES)]
        if policy not in wholes:
            wholes[policy] = train_whole(folder / f"whole-{policy}", shards, policy)
        whole = wholes[policy]
        run = folder / f"round-{number}"
        moments = kill_and_resume(run, arguments(run, shards, policy), whole, draw)
        faults = differences(whole.folder, run)
        failed += bool(faults)
        print(f"round {number + 1:>2}  {policy:<13}  killed {'; '.join(moments) or 'too late'}")
        print("          " + ("; ".join(faults) or "equal"), flush=True)
    return failed


def prepare(folder: Path, lesions: int) -> Path:
    import tfskin
    from tfskin.datasets.options import PhantomOptions, SourceOptions

    phantoms = PhantomOptions(lesions=lesions, image_size=(48, 64))
    options = tfskin.PrepareOptions(source=SourceOptions(phantom=phantoms))
    return tfskin.prepare("phantom", output=folder / "tfrecords", options=options).folder


def arguments(run: Path, shards: Path, policy: str) -> list[str]:
    return [
        *("five_layer_rgb.yaml", f"data.shards={shards}", f"train.precision={policy}"),
        *(*EXPERIMENT, "--output", str(run)),
    ]


def train_whole(run: Path, shards: Path, policy: str) -> Whole:
    start = time.monotonic()
    process = launch(arguments(run, shards, policy))
    start_up = wait_until_it_trains(run, process) - start
    finish(process)
    seconds = time.monotonic() - start
    print(f"undisturbed {policy}: {seconds:.0f} s, of which {start_up:.0f} s to start", flush=True)
    return Whole(run, seconds, start_up)


def kill_and_resume(run: Path, command: list[str], whole: Whole, draw: random.Random) -> list[str]:
    """Kill up to three times, then let it finish; where the kills fell."""
    moments = []
    for _ in range(draw.randint(1, KILLS)):
        process = launch(["--resume", str(run)] if (run / "config.yaml").is_file() else command)
        while_starting = draw.random() < 0.1
        if while_starting:
            pause(draw.uniform(0, whole.start_up), process)
        else:
            wait_until_it_trains(run, process)
            pause(draw.uniform(0, whole.seconds - whole.start_up), process)
        if process.poll() is not None:
            finish(process)
            break
        process.kill()
        process.communicate()
        moments.append(moment(run, while_starting=while_starting))
    if (run / "metrics.json").is_file():
        return moments
    finish(launch(["--resume", str(run)] if (run / "config.yaml").is_file() else command))
    return moments


def launch(command: list[str]) -> subprocess.Popen[str]:
    code = "import sys; from tfskin.cli.train import main; sys.argv[0] = 'tfskin-train'; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"the training failed:\n{err}")


def wait_until_it_trains(run: Path, process: subprocess.Popen[str]) -> float:
    """Until a checkpoint is there that was not when this was called; the moment."""
    before = newest(run)
    while process.poll() is None and newest(run) in (before, None):
        time.sleep(0.02)
    return time.monotonic()


def pause(seconds: float, process: subprocess.Popen[str]) -> None:
    """Sleep, unless the process ends before."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def newest(run: Path) -> str | None:
    return max((path.name for path in (run / "checkpoints").glob("epoch-*.npz")), default=None)


def moment(run: Path, *, while_starting: bool) -> str:
    """Where a kill fell, in words."""
    name = newest(run)
    text = f"after {name.removesuffix('.npz')}" if name else "before the first checkpoint"
    if (run / "history.csv").is_file():
        text = "after the fit"
    if while_starting:
        text += " while starting"
    return text + (" within a write" if list(run.rglob(".writing-*")) else "")


def differences(first: Path, second: Path) -> list[str]:
    """What differs between two finished runs."""
    faults = []
    for name, part in (
        ("best weights", best_weights),
        ("last checkpoint", last_checkpoint),
        ("history", history),
        ("predictions", predictions),
        ("figures", figures),
    ):
        one, other = part(first), part(second)
        keys = sorted(one.keys() ^ other.keys())
        keys += sorted(key for key in one.keys() & other.keys() if not same(one[key], other[key]))
        if keys:
            faults.append(f"{name}: {len(keys)} differ, such as {keys[0]}")
    return faults


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return bool(one == other)


def best_weights(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def keep(name: str, value: Any) -> None:
        if isinstance(value, h5py.Dataset):
            found[name] = np.asarray(value)

    with (
        zipfile.ZipFile(run / "model.keras") as archive,
        archive.open("model.weights.h5") as stream,
        h5py.File(stream, "r") as file,
    ):
        file.visititems(keep)
    return found


def last_checkpoint(run: Path) -> dict[str, Any]:
    name = newest(run)
    with np.load(run / "checkpoints" / str(name)) as file:
        found = {key: file[key] for key in file.files if key != "state"}
        state = json.loads(str(file["state"]))
    rows = [without_times(row) for row in state.pop("history")]
    return {"name": name, **found, **without_times(state), "history": str(rows)}


def history(run: Path) -> dict[str, Any]:
    table = pd.read_csv(run / "history.csv", dtype=str)
    return {name: list(table[name]) for name in without_times(dict.fromkeys(table.columns))}


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if "second" not in key}


def predictions(run: Path) -> dict[str, Any]:
    return {path.name: path.read_bytes() for path in (run / "predictions").glob("*.csv")}


def figures(run: Path) -> dict[str, Any]:
    metrics = json.loads((run / "metrics.json").read_text())
    decision = json.loads((run / "decision.json").read_text())
    training = {key: metrics["training"][key] for key in ("best_epoch", "epochs")}
    return {"splits": metrics["splits"], "decision": decision, **training}


if __name__ == "__main__":
    main()
