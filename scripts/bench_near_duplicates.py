"""Near-duplicate search among many hashes: what it still finds, seconds, memory.

Example: python scripts/bench_near_duplicates.py HAM10000/ --hashes 8012 20000 200000

The hashes of the images themselves, and on top of them hashes in which 45 % of the bits of an
image's hash are turned over at random: they are of nobody's image and near to none. Links among
the images are compared with those that are found without the rest.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tfskin.datasets.duplicates import HASH_BITS, HASHED_SIDE, compare_hashes, hash_image
from tfskin.datasets.images import map_images, read_image

TURNED_OVER = 115 / 256
_ROWS_AT_ONCE = 5000


def hash_file(path: str) -> np.ndarray:
    return hash_image(read_image(path, at_least=2 * HASHED_SIDE))


def add_hashes(real: np.ndarray, count: int) -> np.ndarray:
    """``count`` hashes, the real ones first."""
    hashes = np.resize(real, (count, real.shape[1]))
    rng = np.random.default_rng(0)
    for start in range(len(real), count, _ROWS_AT_ONCE):
        part = hashes[start : start + _ROWS_AT_ONCE]
        flips = rng.random((len(part), HASH_BITS), dtype=np.float32) < TURNED_OVER
        part ^= np.packbits(flips, axis=1).view(np.uint64)
    return hashes


def run_child(file: Path, count: int) -> None:
    """Print what was found as JSON."""
    real = np.load(file)
    hashes = add_hashes(real, count)
    start, cpu = time.monotonic(), time.process_time()
    pairs = compare_hashes(hashes)
    found = {
        "links": int((pairs["second"] < len(real)).sum()),
        "others": int((pairs["second"] >= len(real)).sum()),
        "seconds": time.monotonic() - start,
        "processor_seconds": time.process_time() - cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found))


def main() -> None:
    """Measure and print, each number of hashes in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="JPEG files, anywhere below")
    parser.add_argument("--hashes", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        run_child(arguments.folder, arguments.child)
        return
    images = sorted(str(path) for path in arguments.folder.rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hashes.npy"
        np.save(file, np.array(list(map_images(hash_file, images, title="hashing", workers=None))))
        print(f"{'hashes':>9}{'links':>8}{'others':>8}{'s':>8}{'processor s':>13}{'peak MiB':>10}")
        for count in arguments.hashes:
            command = [sys.executable, __file__, str(file), "--child", str(count)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout)
            print(
                f"{count:9,}{found['links']:8}{found['others']:8}{found['seconds']:8.0f}"
                f"{found['processor_seconds']:13.0f}{found['peak_mib']:10,.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
