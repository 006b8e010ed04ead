"""Images a second of tfskin's input pipeline beside its alternatives, in one run.

Every contender decodes the same JPEG files, brings them to one size, flips them both ways at
random, turns them by any angle (bilinear, borders reflected) and gives float32 batches:

- tfskin: ``make_dataset`` over shards;
- the same with two random changes of RandAugment on top;
- Keras: ``image_dataset_from_directory``, then ``RandomFlip`` and ``RandomRotation`` (it does less:
  its resize is not antialiased);
- PyTorch: ``DataLoader`` with two workers and Pillow, where torch is installed (give another
  interpreter with ``--torch-python``); Pillow cannot reflect, so the image is padded first;
- bare JPEG decoding on all cores, the ceiling.

    python scripts/bench_input.py --seconds 4 --torch-python /path/to/venv/bin/python
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BATCH = 32
WARM_UP_BATCHES = 8
DRAWN = 512  # different images, used again and again
TFSKIN = "tfskin make_dataset"
RANDOM = "tfskin with RandAugment"
KERAS = "Keras directory + layers"
TORCH = "PyTorch DataLoader + Pillow"
BARE = "bare JPEG decoding"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4096, help="images in the folder")
    parser.add_argument("--size", type=int, default=128, help="side of the result in pixels")
    parser.add_argument("--seconds", type=float, default=4, help="time of one measurement")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each contender")
    parser.add_argument("--source", type=Path, help="folder of JPEGs (default: drawn, 200 x 150)")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with torch")
    parser.add_argument("--time-torch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.time_torch is not None:
        print(json.dumps(time_torch(options.time_torch, options.size, options.seconds)))
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        files = fill_folder(Path(folder) / "images", options.images, options.source)
        compare_rotations(files[0], options.size)
        contenders = make_contenders(Path(folder), files, options)
        results: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
        for _ in range(options.repeats):
            for name, measure in contenders.items():
                results[name].append(measure())
                print(
                    f"{name:30s}{results[name][-1]['images_a_second']:8,.0f} images/s", flush=True
                )
    print_table(results)


def make_contenders(
    folder: Path, files: list[Path], options: argparse.Namespace
) -> dict[str, Callable[[], dict[str, float]]]:
    contenders: dict[str, Callable[[], dict[str, float]]] = {}
    shards = write_shards_of(files, folder)
    contenders[TFSKIN] = lambda: time_batches(tfskin_batches(shards, options.size), options.seconds)
    contenders[RANDOM] = lambda: time_batches(
        tfskin_batches(shards, options.size, rand_augment=2), options.seconds
    )
    contenders[KERAS] = lambda: time_batches(
        keras_batches(folder / "images", options.size), options.seconds
    )
    contenders[BARE] = lambda: time_batches(decoded_batches(shards), options.seconds)
    probe = subprocess.run(
        [options.torch_python, "-c", "import torch, PIL, numpy"], capture_output=True, check=False
    )
    if probe.returncode:
        print(f"{TORCH}: left out, {options.torch_python} has no torch, pillow and numpy")
        return contenders

    def measure_torch() -> dict[str, float]:
        command = [options.torch_python, __file__, "--time-torch", str(folder / "images")]
        command += ["--size", str(options.size), "--seconds", str(options.seconds)]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        return json.loads(done.stdout)

    contenders[TORCH] = measure_torch
    return contenders


def fill_folder(folder: Path, count: int, source: Path | None) -> list[Path]:
    """``count`` JPEG files in two class folders."""
    given = sorted(source.rglob("*.jpg")) if source else []
    if source and not given:
        raise SystemExit(f"{source}: holds no *.jpg")
    files: list[Path] = []
    rng = np.random.default_rng(0)
    for number in range(count):
        file = folder / "ab"[number % 2] / f"{number:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        if given:
            file.write_bytes(given[number % len(given)].read_bytes())
        elif number < DRAWN:
            draw(rng).save(file, quality=90)
        else:
            file.write_bytes(files[number - DRAWN].read_bytes())
        files.append(file)
    return files


def draw(rng: np.random.Generator) -> Image.Image:
    """Skin with a blob and some noise: a JPEG of 200 x 150 px and about 8 kB."""
    y, x = np.mgrid[-75:75, -100:100]
    radius = np.hypot(x - rng.integers(-20, 20), y - rng.integers(-20, 20))
    lesion = 1 / (1 + np.exp((radius - rng.integers(25, 60)) / 4))[..., None]
    image = (225, 180, 160) - lesion * rng.integers(40, 140, 3)
    coarse = rng.normal(0, 12, (19, 25, 1)).repeat(8, axis=0).repeat(8, axis=1)[:150, :200]
    image = image + coarse + rng.normal(0, 4, image.shape)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def write_shards_of(files: list[Path], folder: Path) -> Any:
    import tensorflow as tf

    from tfskin.datasets.shards import Shards

    def record(file: Path) -> bytes:
        image = tf.train.BytesList(value=[file.read_bytes()])
        label = tf.train.Int64List(value=["ab".index(file.parent.name)])
        feature = {
            "image": tf.train.Feature(bytes_list=image),
            "label": tf.train.Feature(int64_list=label),
        }
        return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()

    paths = [str(folder / f"bench-train.tfrecord-{part:05d}-of-00004") for part in range(4)]
    for part, path in enumerate(paths):
        with tf.io.TFRecordWriter(path) as writer:
            for file in files[part::4]:
                writer.write(record(file))
    counts = {"train": {name: sum(file.parent.name == name for file in files) for name in "ab"}}
    return Shards(
        folder=folder,
        name="bench",
        version="1.0.0",
        fingerprint="",
        counts=counts,
        files={"train": paths},
        max_side=512,
    )


def tfskin_batches(shards: Any, size: int, rand_augment: int = 0) -> Iterator[Any]:
    """Epoch after epoch, each a data set of its own, as training has it."""
    from tfskin.inputs import InputOptions, make_dataset
    from tfskin.schema import AugmentConfig

    options = InputOptions(
        image_size=(size, size),
        batch_size=BATCH,
        augment=AugmentConfig(quarter_turns=False, rotation=180, rand_augment=rand_augment),
    )
    for epoch in itertools.count():
        yield from make_dataset(shards, "train", options=options, epoch=epoch)


def keras_batches(folder: Path, size: int) -> Iterator[Any]:
    import keras
    import tensorflow as tf

    images = keras.utils.image_dataset_from_directory(
        folder, image_size=(size, size), batch_size=BATCH, verbose=False
    )
    flip = keras.layers.RandomFlip("horizontal_and_vertical", seed=0)
    turn = keras.layers.RandomRotation(0.5, fill_mode="reflect", seed=0)
    batches = images.repeat().map(
        lambda image, label: (turn(flip(image)), label), num_parallel_calls=tf.data.AUTOTUNE
    )
    return iter(batches.prefetch(tf.data.AUTOTUNE))


def decoded_batches(shards: Any) -> Iterator[Any]:
    import tensorflow as tf

    from tfskin.inputs.decode import decode_image

    def load(record: Any) -> Any:
        feature = {"image": tf.io.FixedLenFeature([], tf.string)}
        return decode_image(tf.io.parse_single_example(record, feature)["image"])[0, 0]

    records = tf.data.TFRecordDataset(shards.files["train"], num_parallel_reads=4).cache()
    batches = records.repeat().map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH)
    return iter(batches.prefetch(tf.data.AUTOTUNE))


def time_torch(folder: Path, size: int, seconds: float) -> dict[str, float]:
    """Runs where torch is; TensorFlow is not needed there."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    files = sorted(folder.rglob("*.jpg"))

    class Images(Dataset):
        def __len__(self) -> int:
            return 1 << 30

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            file = files[index % len(files)]
            rng = np.random.default_rng(index)
            image = Image.open(file).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            if rng.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            if rng.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
            image = rotate_with_pillow(image, rng.uniform(-180, 180))
            return torch.from_numpy(np.asarray(image).astype(np.float32)), len(file.parent.name)

    before = processor_seconds(resource.RUSAGE_SELF)
    batches = iter(DataLoader(Images(), batch_size=BATCH, num_workers=2))
    result = time_batches(batches, seconds)
    # The time of the workers is known when they have ended.
    del batches
    used = processor_seconds(resource.RUSAGE_SELF) - before
    used += processor_seconds(resource.RUSAGE_CHILDREN)
    return result | {"processor_us": used / (result["images"] + WARM_UP_BATCHES * BATCH) * 1e6}


def rotate_with_pillow(image: Image.Image, degrees: float) -> Image.Image:
    """Turned counterclockwise, borders reflected."""
    margin = math.ceil(image.width * (math.sqrt(2) - 1) / 2) + 1
    padded = np.pad(np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), "symmetric")
    turned = Image.fromarray(padded).rotate(degrees, Image.Resampling.BILINEAR)
    return turned.crop((margin, margin, margin + image.width, margin + image.height))


def compare_rotations(file: Path, size: int) -> None:
    """Prints how far the contenders' images are from each other at fixed angles."""
    import keras
    import tensorflow as tf

    from tfskin.inputs.augment import resample
    from tfskin.inputs.decode import decode_and_resize

    image = decode_and_resize(tf.constant(file.read_bytes()), (size, size))
    pillow = Image.fromarray(np.round(image).astype(np.uint8))
    for degrees in (20.0, 135.0):
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        ours = resample(image, (cosine, -sine, 0.0, sine, cosine, 0.0), fill="reflect")
        factor = (degrees / 360, degrees / 360)
        layer = keras.layers.RandomRotation(factor, fill_mode="reflect")
        others = {
            "Pillow": np.asarray(rotate_with_pillow(pillow, degrees), float),
            "Keras": layer(image[None], training=True)[0].numpy(),
        }
        for name, other in others.items():
            distance = np.abs(ours - other)
            print(
                f"turned by {degrees:.0f} degrees, tfskin and {name} differ by "
                f"{distance.mean():.2f} grey levels on average, {distance.max():.1f} at most"
            )


def time_batches(batches: Iterator[Any], seconds: float) -> dict[str, float]:
    """Images a second, and processor time an image, of batches that never end."""
    for _ in range(WARM_UP_BATCHES):
        next(batches)
    images = 0
    start, processor = time.perf_counter(), processor_seconds(resource.RUSAGE_SELF)
    while (elapsed := time.perf_counter() - start) < seconds:
        batch = next(batches)
        images += len(batch[0]) if isinstance(batch, tuple | list) else len(batch)
    processor = processor_seconds(resource.RUSAGE_SELF) - processor
    return {
        "images": images,
        "images_a_second": images / elapsed,
        "processor_us": processor / images * 1e6,
    }


def processor_seconds(whose: int) -> float:
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def print_table(results: dict[str, list[dict[str, float]]]) -> None:
    """Medians; the processor time says more than the clock where other programs run."""
    print(f"\n{os.cpu_count()} processors, medians of {len(results[TFSKIN])}")
    print(f"{'':30s}{'images/s':>10s}{'tfskin':>8s}{'processor us/image':>22s}{'tfskin':>8s}")

    def median(name: str, key: str) -> float:
        return statistics.median(row[key] for row in results[name])

    for name in results:
        speed, processor = median(name, "images_a_second"), median(name, "processor_us")
        faster = median(TFSKIN, "images_a_second") / speed
        cheaper = processor / median(TFSKIN, "processor_us")
        print(f"{name:30s}{speed:10,.0f}{faster:7.2f}x{processor:22,.0f}{cheaper:7.2f}x")


if __name__ == "__main__":
    main()
