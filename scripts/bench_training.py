"""Images a second of ``tfskin-train``'s step beside a bare Keras ``fit``, in one run.

Every contender trains the same ResNet-18 in float32 with AdamW on the same number of images:

- tfskin-train: shards are decoded, resized, turned and recoloured; metrics and the watch on the
  loss are those of a run;
- its step alone, on the same batches decoded beforehand: the difference is what the input costs;
- Keras: ``fit`` with a stock loss and no metric on the same arrays, which is the limit;
- the same with several steps in one call (``steps_per_execution``); tfskin-train with XLA;
- PyTorch, written out here, where torch is installed (give another interpreter with
  ``--torch-python``).

The contenders take turns; the first steps of each turn are not counted, and the input goes on to
read ahead until the last. Then one step is traced and summed up by kind of operation (``--trace
FOLDER`` keeps the trace for TensorBoard).

    python scripts/bench_training.py --torch-python /path/to/venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from bench_input import fill_folder, processor_seconds, write_shards_of

TFSKIN = "tfskin-train"
STEP = "its step on decoded arrays"
KERAS = "Keras fit on decoded arrays"
TORCH = "PyTorch on decoded arrays"
CLASSES = 2
WARM_UP = 2
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
"""Operations that hold others, which are counted themselves."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5, help="counted steps of a turn")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each contender")
    parser.add_argument("--source", type=Path, help="folder of JPEGs (default: drawn, 200 x 150)")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with torch")
    parser.add_argument("--trace", type=Path, help="folder for the trace of a step")
    parser.add_argument("--threads", type=int, help="TensorFlow's threads (default: its choice)")
    options = parser.parse_args()
    if options.threads:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    results: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        turns, model = make_contenders(Path(folder), options)
        for _ in range(options.repeats):
            for name, turn in turns.items():
                results.setdefault(name, []).append(turn())
                speed = options.batch_size / results[name][-1]["seconds"]
                print(f"{name:42s}{speed:8.1f} images/s", flush=True)
        print_table(results, options.batch_size)
        print_operations(model, options, options.trace or Path(folder) / "trace")


def make_contenders(
    folder: Path, options: argparse.Namespace
) -> tuple[dict[str, Callable[[], dict[str, float]]], Any]:
    """Name -> a turn of it, with seconds and processor seconds of a step; and tfskin's model."""
    import keras

    from tfskin.config import read_config
    from tfskin.experiment.fitting.data import input_options
    from tfskin.inputs import make_dataset

    steps = WARM_UP + options.steps
    files = fill_folder(
        folder / "images", max(1024, 2 * steps * options.batch_size), options.source
    )
    shards = write_shards_of(files, folder)
    config = read_config(
        "ham10000_resnet18.yaml",
        [
            *(f"model.image_size={options.size}", f"train.batch_size={options.batch_size}"),
            *("data.classes=null", "train.precision=float32", "train.weight_decay=1e-4"),
        ],
    )
    inputs = input_options(config)
    epochs = iter(range(10**6))

    def pipeline() -> Any:
        return make_dataset(shards, "train", options=inputs, epoch=next(epochs)).take(steps)

    decoded = list(pipeline().as_numpy_iterator())
    images, labels = (np.concatenate([batch[i] for batch in decoded]) for i in (0, 1))

    def arrays() -> Any:
        import tensorflow as tf

        batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(options.batch_size)
        return batches.prefetch(tf.data.AUTOTUNE)

    def bare(together: int) -> Any:
        model = compiled(config, jit=False)
        model.compile(
            keras.optimizers.AdamW(1e-3, weight_decay=1e-4),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=together,
            jit_compile=False,
        )
        return model

    ours, together = compiled(config, jit=False), options.steps
    turns = {
        TFSKIN: turn_of(ours, pipeline, watched=True),
        STEP: turn_of(ours, arrays, watched=True),
        KERAS: turn_of(bare(1), arrays, watched=False),
        f"{KERAS}, {together} a call": turn_of(
            bare(together), lambda: arrays().repeat().take(2 * together), watched=False
        ),
        f"{TFSKIN}, XLA": turn_of(compiled(config, jit=True), pipeline, watched=True),
    }
    if subprocess.run([options.torch_python, "-c", "import torch"], capture_output=True).returncode:
        print(f"{TORCH}: left out, {options.torch_python} has no torch")
    else:
        turns[TORCH] = lambda: torch_turn(options)
    return turns, ours


def compiled(config: Any, *, jit: bool) -> Any:
    """The network of a config as ``tfskin-train`` compiles it."""
    from tfskin.config import change_config
    from tfskin.experiment.fitting.network import build_network
    from tfskin.experiment.fitting.stages import plan_stages
    from tfskin.training.fit import FitData
    from tfskin.training.replicas import Replicas
    from tfskin.training.stages import begin_stage

    word = "on" if jit else "off"
    config = change_config(config, [f"train.jit_compile={word}"], name="bench", source="bench")
    model, _ = build_network(config, num_classes=CLASSES)
    counts = dict.fromkeys("ab", config.train.batch_size)
    unread: Any = dict.fromkeys(
        ("make_epoch", "images_per_epoch", "val_batches", "val_labels", "score", "score_confusion")
    )
    images = FitData(steps_per_epoch=100, class_counts=counts, **unread)
    data: Any = SimpleNamespace(images=images, distribution=Replicas())
    return begin_stage(model, plan_stages(config, data)[0], [])[1]


def turn_of(
    model: Any, make_batches: Callable[[], Any], *, watched: bool
) -> Callable[[], dict[str, float]]:
    """An epoch of ``fit``, of which the calls after the first steps are timed."""
    import keras

    from tfskin.training.checkpoints import FitState
    from tfskin.training.steps import StepWatch

    class Clock(keras.callbacks.Callback):
        """The time and the processor time after each call."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.times: list[tuple[int, float, float]] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            used = processor_seconds(resource.RUSAGE_SELF)
            self.times.append((batch + 1, time.perf_counter(), used))

    def turn() -> dict[str, float]:
        clock = Clock()
        callbacks: list[Any] = [clock]
        batches = make_batches()
        if watched:
            watch = StepWatch(
                FitState(),
                steps=len(batches),
                checkpoint_minutes=0,
                save=lambda: None,
                advance=lambda steps: None,
                checkpoints=Path(),
            )
            callbacks.insert(0, watch)
        model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=callbacks)
        first = next(moment for moment in clock.times if moment[0] >= WARM_UP)
        last = clock.times[-1]
        steps = last[0] - first[0]
        return {
            "seconds": (last[1] - first[1]) / steps,
            "processor": (last[2] - first[2]) / steps,
        }

    return turn


TORCH_STEP = """
import json, resource, sys, time
import torch
from torch import nn
size, batch, warm_up, steps = map(int, sys.argv[1:])

def unit(i, o, k, s=1):
    return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o))

class Basic(nn.Module):
    def __init__(self, i, width, stride):
        super().__init__()
        self.body = nn.Sequential(unit(i, width, 3, stride), nn.ReLU(), unit(width, width, 3))
        self.side = unit(i, width, 1, stride) if stride > 1 or i != width else nn.Identity()

    def forward(self, x):
        return torch.relu(self.body(x) + self.side(x))

blocks, i = [unit(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
    blocks += [Basic(i, width, stride), Basic(width, width, 1)]
    i = width
model = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(i, 2))
model = model.to(memory_format=torch.channels_last)
images = torch.rand(batch, 3, size, size).to(memory_format=torch.channels_last)
labels = torch.arange(batch) % 2
optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-4)

def step():
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return float(loss)

def used():
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime

for _ in range(warm_up):
    step()
start, before = time.perf_counter(), used()
for _ in range(steps):
    step()
print(json.dumps({"seconds": (time.perf_counter() - start) / steps,
                  "processor": (used() - before) / steps}))
"""
"""ResNet-18 in PyTorch, written out, since torchvision may be missing."""


def torch_turn(options: argparse.Namespace) -> dict[str, float]:
    numbers = map(str, (options.size, options.batch_size, WARM_UP, options.steps))
    command = [options.torch_python, "-c", TORCH_STEP, *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def print_table(results: dict[str, list[dict[str, float]]], batch_size: int) -> None:
    """Medians; the processor time says more than the clock where other programs run."""
    print(
        f"\n{os.cpu_count()} processors, batches of {batch_size}, medians of {len(results[TFSKIN])}"
    )
    print(f"{'':42s}{'images/s':>10s}{TFSKIN:>14s}{'processor ms/image':>20s}{TFSKIN:>14s}")

    def median(name: str, key: str) -> float:
        return statistics.median(row[key] for row in results[name])

    for name in results:
        seconds, processor = median(name, "seconds"), median(name, "processor")
        faster, cheaper = (
            seconds / median(TFSKIN, "seconds"),
            processor / median(TFSKIN, "processor"),
        )
        print(
            f"{name:42s}{batch_size / seconds:10.1f}{faster:13.2f}x"
            f"{1000 * processor / batch_size:20.1f}{cheaper:13.2f}x"
        )
    for what, key in (("the clock", "seconds"), ("processor time", "processor")):
        cost = median(TFSKIN, key) / median(STEP, key) - 1
        over = median(STEP, key) / median(KERAS, key) - 1
        print(f"by {what} the input costs {cost:+.1%}, metrics and watch {over:+.1%}")


def print_operations(model: Any, options: argparse.Namespace, folder: Path) -> None:
    """What one training step consists of, summed over threads, by kind of operation."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    shape = (options.batch_size, options.size, options.size, 3)
    images, labels = rng.uniform(0, 255, shape).astype("float32"), np.arange(shape[0]) % CLASSES
    model.train_on_batch(images, labels)
    tf.profiler.experimental.start(str(folder))
    start = time.perf_counter()
    model.train_on_batch(images, labels)
    seconds = time.perf_counter() - start
    tf.profiler.experimental.stop()
    spent, calls = sum_operations(max(folder.rglob("*.xplane.pb")))
    total = sum(spent.values())
    print(
        f"\none step of {seconds:.2f} s, {total:.2f} s in operations, on {os.cpu_count()} threads"
    )
    for kind, value in spent.most_common(12):
        print(f"{kind:42s}{calls[kind]:6d} calls{1000 * value:10.1f} ms{value / total:8.1%}")


def sum_operations(file: Path) -> tuple[Counter[str], Counter[str]]:
    """Seconds and calls of each kind of operation in a trace."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for plane in space.planes:
        names = {number: data.name for number, data in plane.event_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                node, _, kind = names[event.metadata_id].rpartition(":")
                if not node or node.endswith(":") or kind.startswith(" ") or kind in CALLS:
                    continue
                spent[kind] += event.duration_ps / 1e12
                calls[kind] += 1
    return spent, calls


if __name__ == "__main__":
    main()
