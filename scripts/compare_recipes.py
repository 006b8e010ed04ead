"""What each recipe does to the five-layer net: mean and spread over seeds, on the val split.

    python scripts/compare_recipes.py SHARDS [--output DIR] [--minutes 4] [--seeds 3] [--only NAME]

One run at a time, each in a process of its own, one seed of all recipes before the next seed. Every
recipe trains on the same number of images: as many as the plain one does in ``--minutes`` on this
machine, measured once and kept in ``DIR/plan.json``. So under-sampling has more and shorter epochs
(five times as many at most, for val is judged after each), over-sampling fewer and longer ones, and
the warm-up is scaled with them. A finished run is kept, a stopped one goes on: the same command
again does what is missing. The table is printed after each run and lies in
``DIR/recipes.csv``; ``gain`` is against the plain recipe, and ``clear`` where it is more than twice
the larger of the two spreads (standard deviations between seeds).

The figures are those of val, on which the best epoch was chosen too: they compare recipes and are
too good as estimates of anything else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tfskin.config import list_keys, read_config
from tfskin.datasets.shards import load_shards
from tfskin.files import read_json, write_json, write_text
from tfskin.inputs.sampling import class_quotas
from tfskin.schema import ExperimentConfig

PLAIN = "plain"
RECIPES: dict[str, list[str]] = {
    PLAIN: [],
    "undersample": ["data.sampling=undersample"],
    "oversample": ["data.sampling=oversample"],
    "class_weights": ["train.class_weights=balanced"],
    "focal": ["train.loss=focal"],
    "logit_adjusted": ["train.loss=logit_adjusted"],
    "mixup": ["data.augment.mixup=0.2"],
    "ema": ["train.ema=0.995"],
    "progressive": ["train.progressive.stages=3"],
    "color_constancy": ["model.color_constancy=true"],
}
COMMON = [
    "model.image_size=64",
    "train.learning_rate=3e-3",
    "train.weight_decay=0.05",
    "train.monitor=auc",
    "data.augment.zoom=0.1",
    "data.augment.brightness=0.1",
    "data.augment.contrast=0.1",
    "data.augment.saturation=0.1",
    "evaluate.resamples=100",
    "evaluate.reliance_images=0",
    "evaluate.explained_images=0",
]
MOST_TIMES = 5.0
FIGURES = ("balanced_accuracy", "macro_auc")
TRAIN = [sys.executable, "-c", "from tfskin.cli.train import main; main()"]


def known_recipes(only: list[str]) -> dict[str, list[str]]:
    """The recipes asked for whose keys this version has; says which it leaves out."""
    keys = {key for key, *_ in list_keys(ExperimentConfig)}
    found = {}
    for name, overrides in RECIPES.items():
        if only and name not in (PLAIN, *only):
            continue
        missing = [o for o in overrides if o.partition("=")[0] not in keys]
        if missing:
            print(f"{name}: left out, no key {missing[0].partition('=')[0]}")
        else:
            found[name] = overrides
    return found


def train(folder: Path, overrides: list[str]) -> None:
    """Train one run, or go on with it; its lines go to a log beside it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [*TRAIN, "five_layer_rgb.yaml", *COMMON, *overrides, "--output", str(folder)]
    with folder.with_suffix(".log").open("a") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = "".join(folder.with_suffix(".log").open().readlines()[-3:])
        sys.exit(f"{folder}: tfskin-train failed ({done.returncode}):\n{tail}")


def plan_epochs(output: Path, shards: Path, minutes: float) -> int:
    """Epochs of the plain recipe in so many minutes, measured once on its second epoch."""
    path = output / "plan.json"
    if not path.is_file():
        train(output / "measure", [f"data.shards={shards}", "train.epochs=2", "name=measure"])
        rows = (output / "measure" / "history.csv").read_text().splitlines()
        second = dict(zip(rows[0].split(","), rows[2].split(","), strict=True))
        seconds = float(second["seconds"])
        plan = {"epochs": max(1, round(60 * minutes / seconds)), "seconds_per_epoch": seconds}
        write_json(path, plan | {"minutes": minutes})
    plan = read_json(path)
    if plan["minutes"] != minutes:
        sys.exit(f"{path}: was made for {plan['minutes']} minutes; give another --output")
    return int(plan["epochs"])


def epochs_of(overrides: list[str], plain_epochs: int, counts: dict[str, int]) -> list[str]:
    """Epochs of a recipe in which it sees the images of ``plain_epochs`` plain ones, and warm-up.

    Args:
        overrides: the recipe's keys.
        plain_epochs: epochs of the plain recipe, with one of warm-up.
        counts: diagnosis -> training images.
    """
    sampling = read_config("five_layer_rgb.yaml", overrides).data.sampling
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    times = len(labels) / sum(class_quotas(labels, sampling).values())
    times = min(times, MOST_TIMES)
    epochs = max(1, round(plain_epochs * times))
    return [f"train.epochs={epochs}", f"train.warmup_epochs={times:.3f}"]


def read_figures(output: Path) -> dict[str, dict[str, list[float]]]:
    """Recipe -> figure -> its value on val for each finished seed; and minutes."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in RECIPES:
        for path in sorted(output.glob(f"{name}-seed*/metrics.json")):
            metrics = json.loads(path.read_text())
            figures = found.setdefault(name, {key: [] for key in (*FIGURES, "minutes")})
            for key in FIGURES:
                figures[key].append(metrics["splits"]["val"][key]["value"])
            figures["minutes"].append(metrics["training"]["minutes"])
    return found


def table(found: dict[str, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """A row a recipe: mean, spread, gain and whether it is clear."""
    rows = []
    for name, figures in found.items():
        row: dict[str, Any] = {"recipe": name, "seeds": len(figures["minutes"])}
        for key in FIGURES:
            mean, spread = statistics.mean(figures[key]), deviation(figures[key])
            plain = found.get(PLAIN, figures)[key]
            gain = mean - statistics.mean(plain)
            both = max(spread, deviation(plain))
            several = min(len(figures[key]), len(plain)) > 1
            row |= {
                key: round(mean, 4),
                f"{key}_spread": round(spread, 4),
                f"{key}_gain": round(gain, 4),
                f"{key}_clear": bool(name != PLAIN and several and abs(gain) > 2 * both),
            }
        rows.append(row | {"minutes": round(statistics.mean(figures["minutes"]), 1)})
    return rows


def deviation(values: list[float]) -> float:
    """Standard deviation between seeds; 0 of a single one."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def show(output: Path) -> None:
    """Print the table and write it as CSV."""
    rows = table(read_figures(output))
    if not rows:
        return
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    write_text(output / "recipes.csv", "\n".join(lines) + "\n")
    print("| recipe | seeds | balanced accuracy | gain | macro AUC | gain | minutes |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        cells = [row["recipe"], str(row["seeds"])]
        for key in FIGURES:
            star = " *" if row[f"{key}_clear"] else ""
            cells += [f"{row[key]:.3f} ± {row[f'{key}_spread']:.3f}"]
            cells += [f"{row[f'{key}_gain']:+.3f}{star}"]
        print("| " + " | ".join([*cells, f"{row['minutes']:.1f}"]) + " |")
    print("* more than twice the spread between seeds\n", flush=True)


def main() -> None:
    """Train what is missing, one run at a time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("shards", type=Path, help="folder of shards of HAM10000")
    parser.add_argument("--output", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--minutes", type=float, default=4.0, help="of the plain recipe")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], choices=list(RECIPES), metavar="NAME")
    arguments = parser.parse_args()
    recipes = known_recipes(arguments.only)
    epochs = plan_epochs(arguments.output, arguments.shards, arguments.minutes)
    counts = load_shards(arguments.shards).counts["train"]
    print(f"{epochs} epochs of the plain recipe")
    for seed in range(arguments.seeds):
        for name, overrides in recipes.items():
            folder = arguments.output / f"{name}-seed{seed}"
            if (folder / "metrics.json").is_file():
                continue
            start = time.monotonic()
            print(f"{folder}: trains", flush=True)
            common = [f"data.shards={arguments.shards}", *epochs_of(overrides, epochs, counts)]
            train(folder, [*common, f"name={folder.name}", f"seed={seed}", *overrides])
            print(f"{folder}: {(time.monotonic() - start) / 60:.1f} minutes with evaluation")
            show(arguments.output)
    show(arguments.output)


if __name__ == "__main__":
    main()
