"""Size, error and speed of ONNX and LiteRT exports beside their Keras models, in one run.

Every image is decoded and resized once, as training does it, since these runtimes take no files.
The error is the largest difference of a probability from Keras' over all images. Runtimes take
turns; times are medians of whole calls at batch 1 and 8. The extras ``onnx`` and ``litert``.

    python scripts/bench_runtimes.py runs/ham10000_rgb runs/ham10000_ensemble --images isic/
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCHES = (1, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run directories")
    parser.add_argument("--images", type=Path, required=True, help="folder of *.jpg")
    parser.add_argument("--count", type=int, default=64, help="images")
    parser.add_argument("--calls", type=int, default=60, help="timed calls of each batch size")
    options = parser.parse_args()
    from tfskin.startup import import_tensorflow_quietly

    import_tensorflow_quietly()
    paths = sorted(options.images.rglob("*.jpg"))[: options.count]
    if len(paths) < max(BATCHES):
        raise SystemExit(f"{options.images}: holds fewer than {max(BATCHES)} *.jpg")
    print("| run | runtime | MiB | largest error | ms, batch 1 | ms, batch 8 |")
    print("|---|---|---|---|---|---|")
    for folder in options.runs:
        show(folder, paths, options.calls)


def show(folder: Path, paths: list[Path], calls: int) -> None:
    import tensorflow as tf

    import tfskin
    from tfskin.experiment.exporting import read_graph_options
    from tfskin.inputs import decode_and_resize
    from tfskin.runs import open_run
    from tfskin.serving.runtimes import load_litert, load_onnx

    run = open_run(folder)
    model, graph = run.load_model(), read_graph_options(run)
    images = np.stack(
        [
            decode_and_resize(
                tf.constant(path.read_bytes()), graph.image_size, graph.resize
            ).numpy()
            for path in paths
        ]
    )

    def keras_call(batch: np.ndarray) -> np.ndarray:
        return graph.decision.to_probabilities(model.predict_on_batch(batch))

    contenders: dict[str, Callable[[np.ndarray], np.ndarray]] = {"Keras": keras_call}
    sizes = {"Keras": (folder / "model.keras").stat().st_size}
    with tempfile.TemporaryDirectory() as place:
        onnx = tfskin.export(run, output=place, format="onnx")
        litert = tfskin.export(run, output=place, format="litert")
        contenders |= {"ONNX Runtime": load_onnx(onnx), "LiteRT": load_litert(litert)}
        sizes |= {"ONNX Runtime": onnx.stat().st_size, "LiteRT": litert.stat().st_size}
    expected = keras_call(images)
    errors = {name: np.abs(call(images) - expected).max() for name, call in contenders.items()}
    times = measure(contenders, images, calls)
    for name in contenders:
        error = "" if name == "Keras" else f"{errors[name]:.1e}"
        spent = " | ".join(f"{times[name, batch]:.1f}" for batch in BATCHES)
        print(
            f"| {run.name} | {name} | {sizes[name] / 2**20:.1f} | {error} | {spent} |", flush=True
        )


def measure(
    contenders: dict[str, Callable[[np.ndarray], np.ndarray]], images: np.ndarray, calls: int
) -> dict[tuple[str, int], float]:
    """Median milliseconds of a call, by contender and batch size."""
    times: dict[tuple[str, int], float] = {}
    for batch in BATCHES:
        spent: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(calls + 5):
            start = turn * batch % (len(images) - batch + 1)
            given = images[start : start + batch]
            for name, call in contenders.items():
                begun = time.perf_counter()
                call(given)
                spent[name].append((time.perf_counter() - begun) * 1000)
        times |= {(name, batch): statistics.median(one[5:]) for name, one in spent.items()}
    return times


if __name__ == "__main__":
    main()
