"""Training step and inference of our networks beside the same ones built elsewhere.

    python scripts/bench_models.py [NAME...] [--image-size N] [--batch-size N] [--repeats N]
    python scripts/bench_models.py --torch-python PYTHON_WITH_TORCH

Each network is timed beside ``keras.applications`` built directly and, where torch is installed
(in this Python or in another), beside the same network in PyTorch. The contenders take turns in
one process, so that what else the machine does falls on all of them; printed are medians and
their ratio, above 1 where ours is faster. PyTorch runs in a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

KERAS = {
    "vgg16": "VGG16",
    "resnet50": "ResNet50",
    "inception_v3": "InceptionV3",
    "efficientnet_v2_s": "EfficientNetV2S",
}
DEFAULT = ("resnet50", "inception_v3")
CLASSES = 7


def time_in_turns(steps: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each step, taken in turns after one uncounted call."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def build_contenders(name: str, size: int) -> dict[str, Any]:
    import keras

    from tfskin.models import build_model

    arguments: dict[str, Any] = {"image_size": (size, size), "num_classes": CLASSES}
    if name.startswith("resnet"):
        arguments |= {"stride_placement": "v1", "small_stem": False}  # what Keras has
    models = {
        "tfskin": build_model(name, **arguments),
        "keras.applications": getattr(keras.applications, KERAS[name])(
            weights=None,
            input_shape=(size, size, 3),
            classes=CLASSES,
            classifier_activation=None,
        ),
    }
    for model in models.values():
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
        model.compile(optimizer, loss, jit_compile=False)
    return models


def bench(name: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds of a training step and of inference by contender."""
    rng = np.random.default_rng(0)
    shape = (options.batch_size, options.image_size, options.image_size, 3)
    images = rng.uniform(0, 255, shape).astype("float32")
    labels = np.arange(options.batch_size) % CLASSES
    models = build_contenders(name, options.image_size)

    def training(model: Any) -> Callable[[], Any]:
        return lambda: model.train_on_batch(images, labels)

    def inference(model: Any) -> Callable[[], Any]:
        return lambda: model.predict_on_batch(images)

    kinds = {"training step": training, "inference": inference}
    return {
        what: time_in_turns({name: kind(model) for name, model in models.items()}, options.repeats)
        for what, kind in kinds.items()
    }


TORCH = """
import json, statistics, sys, time
import torch
from torch import nn
size, batch, repeats = map(int, sys.argv[1:4])

def unit(i, o, k, s=1):
    return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o))

class Bottleneck(nn.Module):
    def __init__(self, i, width, stride):
        super().__init__()
        self.body = nn.Sequential(unit(i, width, 1, stride), nn.ReLU(), unit(width, width, 3),
                                  nn.ReLU(), unit(width, 4 * width, 1))
        self.side = unit(i, 4 * width, 1, stride) if stride > 1 or i != 4 * width else nn.Identity()

    def forward(self, x):
        return torch.relu(self.body(x) + self.side(x))

blocks, i = [unit(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
    for number in range(count):
        blocks.append(Bottleneck(i, width, stride if number == 0 else 1))
        i = 4 * width
model = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(i, 7))
model = model.to(memory_format=torch.channels_last)
images = torch.rand(batch, 3, size, size).to(memory_format=torch.channels_last)
labels = torch.arange(batch) % 7
optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

def train():
    model.train()
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()

def infer():
    model.eval()
    with torch.inference_mode():
        model(images)

found = {}
for name, step in (("training step", train), ("inference", infer)):
    step()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    found[name] = statistics.median(seconds)
print(json.dumps(found))
"""
"""ResNet-50 (v1) in PyTorch, written out, since torchvision may be missing."""


def bench_torch(options: argparse.Namespace) -> dict[str, float]:
    """Seconds of ResNet-50 in PyTorch; empty where torch is missing."""
    numbers = [str(options.image_size), str(options.batch_size), str(options.repeats)]
    command = [options.torch_python, "-c", TORCH, *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"no torch in {options.torch_python}: {done.stderr.strip().splitlines()[-1]}")
        return {}
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", default=DEFAULT, metavar="NAME", help=", ".join(KERAS))
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--torch-python", default=sys.executable)
    options = parser.parse_args()
    for name in options.names:
        if name not in KERAS:
            parser.error(f"'{name}': must be one of {', '.join(KERAS)}")
    size, batch = options.image_size, options.batch_size
    print(f"{size} px, batches of {batch}, medians of {options.repeats}")
    for name in options.names:
        found = bench(name, options)
        torch = bench_torch(options) if name == "resnet50" else {}
        for what, seconds in found.items():
            if torch:
                seconds["torch"] = torch[what]
            ours = seconds["tfskin"]
            others = [
                f"{k} {v:.3f} s ({v / ours:.2f})" for k, v in seconds.items() if k != "tfskin"
            ]
            print(f"{name:18} {what:14} tfskin {ours:.3f} s; {'; '.join(others)}")


if __name__ == "__main__":
    main()
