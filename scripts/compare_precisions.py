"""Final scores of three nets under each precision, over seeds, on phantoms.

    python scripts/compare_precisions.py [--output DIR] [--seeds 3] [--epochs 6] [--size 32]

All runs are trained in this process and judged on val alone; finished ones are kept, so the
same command does what is missing. Printed per net and precision: mean and standard deviation over
seeds of macro AUC and loss on val (of the last epoch), steps skipped by overflow, and processor
seconds of training. Runs on a GPU where there is one; on a CPU half precision is slower.
"""

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from tfskin.config import read_config
from tfskin.datasets.shards import load_shards

NETS = {
    "five_layer": ["model.widths=[8, 16, 32, 32, 32]"],
    "resnet10": ["model.name=resnet10", "model.widths=[8, 16, 16, 32]"],
    "googlenet": [
        "model.name=googlenet",
        "model.widths=null",
        "model.use_bn=true",
        "model.aux_weight=0",
    ],
}
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


def prepare(output: Path, lesions: int) -> Path:
    """The folder of the shards of drawn lesions."""
    import tfskin
    from tfskin.datasets.options import PhantomOptions, SourceOptions

    there = sorted(output.glob("**/shards.json"))
    if there:
        return there[0].parent
    options = tfskin.PrepareOptions(source=SourceOptions(phantom=PhantomOptions(lesions=lesions)))
    return tfskin.prepare("phantom", output=output, options=options).folder


def train(config: Any, folder: Path) -> dict[str, float]:
    """The last epoch's figures, and steps skipped and processor seconds of all."""
    from tfskin.experiment.fitting.network import build_network
    from tfskin.experiment.fitting.stages import TrainingData, plan_stages
    from tfskin.inputs import class_names
    from tfskin.training.checkpoints import FitState
    from tfskin.training.fit import FitOptions, fit
    from tfskin.training.stages import list_tasks

    shards = load_shards(config.data.shards)
    names = class_names(shards, None)
    stages = plan_stages(config, TrainingData(config, shards, names, folder))
    model, _ = build_network(config, num_classes=len(names))
    options, state = FitOptions(folder), FitState()
    for task in list_tasks(model, stages, state):
        fit(task, options=options, state=state)
    rows = state.history
    keras.backend.clear_session()
    return {
        "val_auc": rows[-1]["val_auc"],
        "val_loss": rows[-1]["val_loss"],
        "skipped": sum(row.get("skipped_steps", 0) for row in rows),
        "seconds": sum(row["cpu_seconds"] for row in rows),
    }


def spread(values: list[float]) -> str:
    """``mean ± deviation``."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=Path("runs/precisions"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--lesions", type=int, default=200)
    arguments = parser.parse_args()
    plan = f"{arguments.lesions} lesions, {arguments.size} px, {arguments.epochs} epochs"
    kept = arguments.output / "plan.txt"
    former = kept.read_text(encoding="utf-8") if kept.is_file() else plan
    if former != plan:
        parser.error(f"{kept}: holds runs of {former}; give another --output")
    arguments.output.mkdir(parents=True, exist_ok=True)
    kept.write_text(plan, encoding="utf-8")
    shards = prepare(arguments.output / "shards", arguments.lesions)
    print("| net | precision | val macro AUC | val loss | steps skipped | processor s |")
    print("|---|---|---|---|---|---|")
    for net, overrides in NETS.items():
        for precision in PRECISIONS:
            found: list[dict[str, Any]] = []
            for seed in range(arguments.seeds):
                folder = arguments.output / f"{net}-{precision}-seed{seed}"
                common = [f"data.shards={shards}", f"train.precision={precision}", f"seed={seed}"]
                common += [f"model.image_size={arguments.size}", f"train.epochs={arguments.epochs}"]
                config = read_config("five_layer_rgb.yaml", [*common, *overrides])
                found.append(train(config, folder))
            aucs, losses = ([run[key] for run in found] for key in ("val_auc", "val_loss"))
            skipped = "/".join(str(run["skipped"]) for run in found)
            seconds = statistics.mean(run["seconds"] for run in found)
            print(f"| {net} | {precision} | {spread(aucs)} | {spread(losses)} ", end="")
            print(f"| {skipped} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
