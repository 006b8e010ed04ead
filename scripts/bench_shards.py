"""Speed of sharding beside a Pillow loop and bare JPEG decoding, and peak memory by records.

Example: python scripts/bench_shards.py HAM10000/ --images 2000 --records 2000 20000 200000

Speed: medians of --repeats, images a second, all in one process. Memory: a process of its own
for each number of records, which re-uses the images under new ids; all of prepare (reading the
table, audit, near duplicates, groups, splits, shards), its peak as the operating system counts it.
With --crops every record has an image of its own, a random part of one of the images, so that
the search for near duplicates has as many different hashes as there are records.
"""

import argparse
import csv
import io
import itertools
import json
import multiprocessing
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MAX_SIDE = 512


def list_images(folder: Path) -> list[str]:
    """The JPEG files below a folder."""
    found = sorted(str(path) for path in folder.absolute().rglob("*.jpg"))
    if not found:
        sys.exit(f"{folder}: no .jpg file in it or below")
    return found


def write_table(file: Path, images: list[str], records: int) -> None:
    """A table that lists so many records, taking the images round by round.

    Four images a lesion; an image comes back under a lesion of its own.
    """
    with file.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image_id", "path", "label", "lesion_id", "sex", "age", "license"])
        for number, path in zip(range(records), itertools.cycle(images)):
            label = ("nevus", "melanoma", "keratosis")[number // 4 % 3]
            row = [f"i{number:07d}", path, label, f"l{number // 4}", "female", 55, "CC-BY-NC"]
            table.writerow(row)


def cut_crops(images: list[str], records: int, folder: Path) -> list[str]:
    """So many images of the first one's size, each a random part of one of ``images``."""
    folder.mkdir(exist_ok=True)
    names = [str(folder / f"{number:07d}.jpg") for number in range(records)]
    with multiprocessing.Pool() as pool:
        pool.starmap(cut_crop, zip(itertools.cycle(images), names), chunksize=256)
    return names


def cut_crop(image: str, name: str) -> None:
    """60 to 80 % of each side: too little to be found as a copy of the whole image."""
    from PIL import Image

    rng = random.Random(name.rpartition("/")[2])
    with Image.open(image) as opened:
        width, height = opened.size
        side = rng.uniform(0.6, 0.8)
        left = rng.uniform(0, 1 - side) * width
        upper = rng.uniform(0, 1 - side) * height
        box = (left, upper, left + side * width, upper + side * height)
        opened.resize(opened.size, Image.Resampling.BILINEAR, box=box).save(name, quality=90)


def prepare(table: Path, output: Path, *, artefacts: bool, look: bool) -> None:
    """All of tfskin-prepare."""
    import tfskin
    from tfskin.datasets.options import ShardOptions

    options = tfskin.PrepareOptions(
        name="bench",
        artefacts=artefacts,
        near_duplicates=look,
        photographs=False,
        overwrite=True,
        shards=ShardOptions(max_side=MAX_SIDE),
    )
    tfskin.prepare("table", table, output=output, options=options)


def loop_with_pillow(images: list[str], output: Path) -> None:
    """What a notebook does: one process, open, shrink, encode, write a record."""
    import tensorflow as tf
    from PIL import Image

    with tf.io.TFRecordWriter(str(output / "pillow.tfrecord")) as writer:
        for number, path in enumerate(images):
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=95, subsampling=0)
            values = {"image": stream.getvalue(), "image_id": str(number).encode()}
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                for name, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def decode_alone(images: list[str]) -> None:
    """Read and decode on all cores, nothing else: what checks every image can't be faster."""
    import tensorflow as tf

    def decode(path: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_jpeg(tf.io.read_file(path), 3, dct_method="INTEGER_ACCURATE")
        return tf.reduce_max(image)  # reads every pixel, keeps none

    calls = tf.data.AUTOTUNE
    for _ in tf.data.Dataset.from_tensor_slices(images).map(decode, calls).batch(64):
        pass


def write_alone(table: Path, output: Path) -> None:
    """Records of one split -> shards, without the audit."""
    import numpy as np
    import pandas as pd

    from tfskin.datasets.options import ShardOptions
    from tfskin.datasets.shard_writing import write_shards
    from tfskin.datasets.sources import read_records

    records = read_records("table", table)
    splits = pd.Series(["train"] * len(records))
    options = ShardOptions(max_side=MAX_SIDE, overwrite=True)
    write_shards(
        records,
        splits,
        np.arange(len(records)),
        name="alone",
        output_dir=output,
        options=options,
    )


def audit_alone(table: Path, *, artefacts: bool) -> None:
    """Hash and examine every image."""
    from tfskin.datasets.audit import audit_records
    from tfskin.datasets.sources import read_records

    audit_records(read_records("table", table), photographs=False, artefacts=artefacts)


def measure_speed(images: list[str], repeats: int, folder: Path) -> None:
    """Print images a second, by the clock and by processor time."""
    table = folder / "speed.csv"
    write_table(table, images, len(images))
    ways: dict[str, Callable[[], None]] = {
        "bare JPEG decoding, all cores": lambda: decode_alone(images),
        "Pillow loop, one process": lambda: loop_with_pillow(images, folder),
        "sharding": lambda: write_alone(table, folder),
        "audit: files and hashes": lambda: audit_alone(table, artefacts=False),
        "audit: artefacts too": lambda: audit_alone(table, artefacts=True),
    }
    decode_alone(images[:64])
    write_table(folder / "warm.csv", images, 64)
    write_alone(folder / "warm.csv", folder)
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            clock, cpu = time.monotonic(), time.process_time()
            way()
            spent = time.monotonic() - clock, time.process_time() - cpu
            rates[name].append((len(images) / spent[0], 1e6 * spent[1] / len(images)))
    print(f"{'':32}{'images/s':>12}{'processor us':>14}")
    for name, found in rates.items():
        rate, cost = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"{name:32}{rate:12,.0f}{cost:14,.0f}")


def measure_memory(arguments: argparse.Namespace, records: int, folder: Path) -> dict[str, float]:
    """Seconds and peak MiB of prepare, in a process of its own."""
    table = folder / "memory.csv"
    images = list_images(arguments.folder)
    if arguments.crops:
        images = cut_crops(images, records, folder / "crops")
    write_table(table, images, records)
    command = [sys.executable, __file__, str(table), "--child", str(folder / "shards")]
    if arguments.artefacts:
        command.append("--artefacts")
    if arguments.no_audit:
        command.append("--no-audit")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_child(arguments: argparse.Namespace) -> None:
    """Prepare a table, and print what it took as JSON."""
    start = time.monotonic()
    look = not arguments.no_audit
    prepare(arguments.folder, arguments.child, artefacts=arguments.artefacts, look=look)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    helpers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    seconds = time.monotonic() - start
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "largest_child_mib": helpers}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="JPEG files, anywhere below")
    parser.add_argument("--images", type=int, default=2000, help="for speed; 0: leave it out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--records", type=int, nargs="*", default=[], help="for memory")
    parser.add_argument("--crops", action="store_true", help="memory: each image is another")
    parser.add_argument("--artefacts", action="store_true", help="memory: look for artefacts too")
    parser.add_argument("--no-audit", action="store_true", help="memory: no near duplicates")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        run_child(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.images:
            images = list_images(arguments.folder)[: arguments.images]
            measure_speed(images, arguments.repeats, Path(folder))
        for records in arguments.records:
            found = measure_memory(arguments, records, Path(folder))
            print(
                f"{records:>9,} records: {found['seconds']:7.0f} s, peak "
                f"{found['peak_mib']:,.0f} MiB"
            )


if __name__ == "__main__":
    main()
