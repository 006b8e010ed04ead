"""Throughput, latency and memory of the fused export beside its alternatives, in one run.

Every contender takes the same encoded images and gives probabilities:

- fused: the SavedModel of the ensemble, as TensorFlow Serving runs it: one decode and resize;
- members: a SavedModel of each member, called one after another, each decoding for itself;
- Keras predict: decoded by the function that training uses, then ``model.predict_on_batch``;
- ONNX Runtime: decoded by the same function, then the ensemble's ONNX export (extra ``onnx``).

Contenders take turns, so that other work on the machine hits all of them alike. Before that come
the size of the export, its loading and warm-up, and its first requests; after it, memory over many
requests. Exports stay in ``--exports``, so that the parts can be called one by one.

    python scripts/bench_serving.py runs/ham10000_ensemble --images isic/ --exports bench/
    python scripts/bench_serving.py runs/ham10000_ensemble --images isic/ --exports bench/ \
        --batches --requests 10000
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Contender = Callable[[list[bytes]], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="an ensemble's run directory")
    parser.add_argument("--images", type=Path, required=True, help="folder of *.jpg")
    parser.add_argument("--seconds", type=float, default=8, help="time of each contender and batch")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=0, help="for the memory; 0: none")
    parser.add_argument("--exports", type=Path, help="folder of exports, made where missing")
    options = parser.parse_args()
    from tfskin.startup import import_tensorflow_quietly

    import_tensorflow_quietly()
    files = [path.read_bytes() for path in sorted(options.images.rglob("*.jpg"))[:64]]
    if not files:
        raise SystemExit(f"{options.images}: holds no *.jpg")
    sizes = sorted(len(data) for data in files)
    print(f"{len(files)} images, median {sizes[len(sizes) // 2] // 1024} KiB")
    with tempfile.TemporaryDirectory() as temporary:
        place = options.exports or Path(temporary)
        fused = load(find_export(options.run, place, "fused"), news=True)
        show_first_requests(fused, sorted(files, key=len)[len(files) // 2])
        if options.batches:
            contenders = make_contenders(options.run, place, fused)
            compare_answers(contenders, files[:8])
        for batch in options.batches:
            measure(contenders, files, batch, options.seconds)
        if options.requests:
            watch_memory(fused, files, options.requests)


def find_export(run: Any, place: Path, name: str, *, format: str = "saved_model") -> Path:
    """The export of that name in the folder, made unless it is there."""
    import tfskin

    made = place / (f"{name}.onnx" if format == "onnx" else f"{name}/1")
    return made if made.exists() else tfskin.export(run, output=place, name=name, format=format)  # type: ignore[arg-type]


def make_contenders(folder: Path, place: Path, fused: Contender) -> dict[str, Contender]:
    from tfskin.errors import UserError
    from tfskin.experiment.exporting import read_graph_options
    from tfskin.runs import open_run
    from tfskin.serving.runtimes import load_onnx

    run = open_run(folder)
    members = [open_run(member["folder"]) for member in run.metrics()["members"]]
    parts = [load(find_export(member, place, f"m{n}")) for n, member in enumerate(members)]
    contenders: dict[str, Contender] = {
        "fused": fused,
        f"{len(parts)} members": lambda files: np.mean([part(files) for part in parts], axis=0),
        "Keras predict": keras_contender(run),
    }
    try:
        session = load_onnx(find_export(run, place, "fused", format="onnx"))
        decode = make_decode(read_graph_options(run))
        contenders["ONNX Runtime"] = lambda files: session(decode(files))
    except UserError as reason:
        print(f"ONNX Runtime: left out, {reason}")
    return contenders


def load(folder: Path, *, news: bool = False) -> Contender:
    import tensorflow as tf

    from tfskin.serving.warm_up import replay_warm_up

    start = time.perf_counter()
    loaded = tf.saved_model.load(str(folder))
    loading = time.perf_counter() - start
    count = replay_warm_up(folder, loaded.signatures)
    warming = time.perf_counter() - start - loading

    def call(files: list[bytes]) -> np.ndarray:
        answers = loaded.signatures["serving_default"](image_bytes=tf.constant(files))
        return answers["probabilities"].numpy()

    if news:
        images = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"fused: {images / 2**20:.1f} MiB, loaded in {loading:.1f} s, ", end="")
        print(f"warmed up by {count} requests in {warming:.1f} s")
    return call


def keras_contender(run: Any) -> Contender:
    from tfskin.experiment.exporting import read_graph_options

    model, graph = run.load_model(), read_graph_options(run)
    decode = make_decode(graph)
    return lambda files: graph.decision.to_probabilities(model.predict_on_batch(decode(files)))


def make_decode(graph: Any) -> Callable[[list[bytes]], np.ndarray]:
    """Files to images of the network's size, on all cores, as training does it."""
    import tensorflow as tf

    from tfskin.inputs import decode_and_resize

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode(files: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(
            lambda data: decode_and_resize(data, graph.image_size, graph.resize),
            files,
            fn_output_signature=tf.TensorSpec((*graph.image_size, 3), tf.float32),
        )

    return lambda files: decode(tf.constant(files)).numpy()


def compare_answers(contenders: dict[str, Contender], files: list[bytes]) -> None:
    fused = contenders["fused"](files)
    for name in ("Keras predict", "ONNX Runtime"):
        if name in contenders:
            difference = np.abs(contenders[name](files) - fused).max()
            print(f"{name} differs from fused by at most {difference:.1e}")
    contenders[next(name for name in contenders if name.endswith("members"))](files)


def measure(
    contenders: dict[str, Contender], files: list[bytes], batch: int, seconds: float
) -> None:
    times: dict[str, list[float]] = {name: [] for name in contenders}
    requests = [
        [files[(start + row) % len(files)] for row in range(batch)]
        for start in range(0, len(files), max(1, min(batch, 8)))
    ]
    for call in contenders.values():  # every contender has seen the size before it is timed
        call(requests[0])
    turn = 0
    while min(sum(spent) for spent in times.values()) < seconds:
        for name, call in contenders.items():
            start = time.perf_counter()
            call(requests[turn % len(requests)])
            times[name].append(time.perf_counter() - start)
        turn += 1
    print(f"\nbatch {batch}: images/s, p50 and p99 in ms, requests; fused is so many times faster")
    fused = statistics.median(times["fused"])
    for name, spent in times.items():
        p50, p99 = np.percentile(spent, [50, 99]) * 1000
        rate = batch / statistics.median(spent)
        ratio = statistics.median(spent) / fused
        print(f"{name:16s}{rate:9.1f}{p50:10.1f}{p99:10.1f}{len(spent):7d}{ratio:8.2f}")


def show_first_requests(call: Contender, data: bytes, requests: int = 200) -> None:
    """The first request after the warm-up beside the hundredth, all of one image."""
    spent = []
    for _ in range(requests):
        start = time.perf_counter()
        call([data])
        spent.append((time.perf_counter() - start) * 1000)
    low, high = np.percentile(spent[1:], [5, 95])
    print(f"requests of one image of {len(data) // 1024} KiB: first {spent[0]:.1f} ms, ", end="")
    print(f"hundredth {spent[99]:.1f} ms; median of {requests} {statistics.median(spent):.1f} ms ")
    print(f"({low:.1f} to {high:.1f} ms from the 5th to the 95th percentile)", flush=True)


def watch_memory(call: Contender, files: list[bytes], requests: int) -> None:
    """Resident memory and latency over many requests, of one image each, in turn."""
    marks = {1, 100, *(requests * tenth // 10 for tenth in range(1, 11))}
    spent: list[float] = []
    print(f"\n{requests} requests of one image each, of {len(files)} in turn")
    for number in range(1, requests + 1):
        start = time.perf_counter()
        call([files[number % len(files)]])
        spent.append(time.perf_counter() - start)
        if number in marks:
            recent = statistics.median(spent[-100:]) * 1000
            print(f"request {number}: median of the last 100 {recent:.1f} ms, ", end="")
            print(f"resident {resident_mib():.0f} MiB", flush=True)


def resident_mib() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    except OSError:  # no Linux: the highest so far
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
