"""Final scores of three nets under each precision, over seeds, on phantoms.

    python scripts/compare_precisions.py [--output DIR] [--seeds 3] [--epochs 8] [--size 32]

Each run is a process of its own; finished runs are kept, so the same command does what is missing.
Printed per net and precision: mean and standard deviation over seeds of macro AUC and loss on val
(of the last epoch), steps skipped by overflow, and seconds of training. Runs on a GPU where there
is one; on a CPU half precision is slower.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

NETS = {
    "five_layer": ["model.widths=[8, 16, 32, 32, 32]"],
    "resnet10": ["model.name=resnet10", "model.widths=[8, 16, 16, 32]"],
    "googlenet": ["model.name=googlenet", "model.use_bn=true", "model.aux_weight=0"],
}
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
QUICK = ["evaluate.resamples=100", "evaluate.reliance_images=0", "evaluate.explained_images=0"]


def call(command: str, *arguments: str) -> None:
    """A command of tfskin in a process of its own."""
    code = f"from tfskin.cli.{command} import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(
            f"tfskin-{command} {' '.join(arguments)}:\n{done.stdout[-500:]}{done.stderr[-800:]}"
        )


def read_run(folder: Path) -> dict[str, float]:
    """The last epoch's figures, and steps and seconds of all."""
    lines = (folder / "history.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    return {
        "val_auc": float(rows[-1]["val_auc"]),
        "val_loss": float(rows[-1]["val_loss"]),
        "skipped": sum(int(float(row.get("skipped_steps", 0))) for row in rows),
        "seconds": sum(float(row["seconds"]) for row in rows),
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
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--lesions", type=int, default=300)
    arguments = parser.parse_args()
    shards = arguments.output / "shards"
    if not shards.is_dir():
        number = str(arguments.lesions)
        call("prepare", "phantom", "--lesions", number, "--output", str(shards))
    print("| net | precision | val macro AUC | val loss | steps skipped | seconds |")
    print("|---|---|---|---|---|---|")
    for net, overrides in NETS.items():
        for precision in PRECISIONS:
            found: list[dict[str, Any]] = []
            for seed in range(arguments.seeds):
                folder = arguments.output / f"{net}-{precision}-seed{seed}"
                common = [f"data.shards={find_shards(shards)}", f"train.precision={precision}"]
                common += [f"model.image_size={arguments.size}", f"train.epochs={arguments.epochs}"]
                common += [f"seed={seed}", f"name={folder.name}", *QUICK, *overrides]
                call("train", "five_layer_rgb.yaml", *common, "--output", str(folder))
                found.append(read_run(folder))
            aucs, losses = ([run[key] for run in found] for key in ("val_auc", "val_loss"))
            skipped = "/".join(str(run["skipped"]) for run in found)
            seconds = statistics.mean(run["seconds"] for run in found)
            print(f"| {net} | {precision} | {spread(aucs)} | {spread(losses)} ", end="")
            print(f"| {skipped} | {seconds:.0f} |", flush=True)


def find_shards(output: Path) -> Path:
    """The folder that tfskin-prepare made in ``output``."""
    return next(iter(sorted(output.glob("**/shards.json")))).parent


if __name__ == "__main__":
    main()
