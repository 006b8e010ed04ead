"""Damaged images by the thousand, through the C++ loader that TensorFlow Serving uses.

JPEG, PNG, GIF and BMP files are mutated (bits flipped, bytes overwritten, cut, doubled, spliced),
sent in batches through a SavedModel, and every row must be valid, with probabilities that sum to
1, or marked with a reason. The process must live to the end.

    python scripts/fuzz_serving.py exports/ham10000_ensemble/1 --inputs 20000 --source HAM10000/
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

KINDS = ("JPEG", "PNG", "GIF", "BMP")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a version's folder")
    parser.add_argument("--inputs", type=int, default=20_000, help="mutated files")
    parser.add_argument("--batch", type=int, default=16, help="files in a request")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", type=Path, help="folder of images (default: drawn)")
    parser.add_argument("--part", type=int, default=2000, help="files between two lines of news")
    options = parser.parse_args()
    from tests.serving.cpp_loader import compile_loader, run_loader
    from tests.serving.mutations import count_faults, mutate

    files = make_files(options.source)
    reasons: Counter[str] = Counter()
    total = faults = 0
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        program = compile_loader(Path(tempfile.gettempdir()))
        for part in range(-(-options.inputs // options.part)):
            count = min(options.part, options.inputs - part * options.part)
            inputs = list(mutate(files, count=count, seed=options.seed * 1000 + part))
            answers = run_loader(
                program,
                options.model,
                "serving_default",
                [inputs],
                Path(place),
                batch=options.batch,
            )
            rows = [reason.decode() or "valid" for batch in answers for reason in batch["reason"]]
            if len(rows) != count:
                raise SystemExit(f"{count} files gave {len(rows)} rows")
            reasons.update(rows)
            total, faults = total + count, faults + count_faults(answers)
            seconds = time.perf_counter() - start
            print(f"{total} files, {faults} faults, {seconds:.0f} s, {dict(reasons)}", flush=True)
    raise SystemExit(1 if faults else 0)


def make_files(source: Path | None) -> list[bytes]:
    """Whole files of every kind: eight images of ``source``, or noise drawn smooth."""
    if source is not None:
        paths = sorted(source.rglob("*.jpg"))[:8]
        if not paths:
            raise SystemExit(f"{source}: holds no *.jpg")
        images = [Image.open(path).convert("RGB") for path in paths]
        files = [path.read_bytes() for path in paths]
    else:
        rng = np.random.default_rng(0)
        noise = [rng.integers(0, 256, (6, 8, 3), dtype=np.uint8) for _ in range(8)]
        images = [Image.fromarray(pixels).resize((96, 72)) for pixels in noise]
        files = []
    for image in images:
        small = image.resize((96, 72))
        for kind in KINDS:
            stream = io.BytesIO()
            small.save(stream, kind)
            files.append(stream.getvalue())
    return files


if __name__ == "__main__":
    main()
