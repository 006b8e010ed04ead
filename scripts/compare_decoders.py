"""Every encoding by three readers: Pillow, the shards of a training, and the served graph.

One drawn image in more than 550 encodings (processes, subsampling, colour spaces, markers, EXIF,
profiles, palettes, alpha, interlacing, bit depths, damage). What prepare stores, decoded as in
training, and what the served graph sees are compared with Pillow's image, upright and over white.
Each must be equal, or re-encoded, or refused; a silent difference is a fault.

    python scripts/compare_decoders.py --images 3
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SILENT = "SILENT DIFFERENCE"
SAME = 2.0
"""Grey levels that decoders of one file may differ by."""
LOSSY = 5.0
"""Mean grey levels that a JPEG of quality 95 may differ by from the image that it was made of."""


class Compared(NamedTuple):
    """What became of one encoding."""

    name: str
    prepared: str
    """``equal``, ``re-encoded``, ``refused`` or :data:`SILENT`."""
    served: str
    """``equal``, ``refused`` or :data:`SILENT`."""
    note: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1, help="drawn images, each in all encodings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="print every encoding")
    options = parser.parse_args()
    from tests.serving.encodings import make_encodings

    found: list[Compared] = []
    for seed in range(options.seed, options.seed + options.images):
        found += compare(make_encodings(seed))
    for row in found:
        if options.all or SILENT in (row.prepared, row.served):
            print(f"{row.name:<60} {row.prepared:<18} {row.served:<18} {row.note}")
    print(f"{len(found)} files")
    for door in ("prepared", "served"):
        counts = Counter(getattr(row, door) for row in found)
        names = ("equal", "re-encoded", "refused", SILENT)
        print(f"{door}: " + ", ".join(f"{counts[name]} {name}" for name in names))
    if any(SILENT in row for row in found):
        raise SystemExit(1)


def compare(encodings: Iterable[tuple[str, bytes]]) -> list[Compared]:
    """What became of each encoding (name, bytes), in order."""
    from tests.serving.encodings import HEIGHT, WIDTH
    from tfskin.inputs.decode import resize_image
    from tfskin.startup import import_tensorflow_quietly

    import_tensorflow_quietly()
    size = (HEIGHT, WIDTH)
    names, files = zip(*encodings, strict=True)
    images, valid, reasons = serve(files, size)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, data) in enumerate(zip(names, files, strict=True)):
            expected = show(data)
            prepared, note = prepare(Path(folder) / f"{number}.jpg", data, expected)
            served = "refused"
            if valid[number]:
                gap = np.inf
                if expected is not None:
                    wanted = resize_image(expected.astype(np.float32), size, "squash").numpy()
                    gap = float(np.abs(images[number] - wanted).max())
                served = "equal" if gap <= SAME else SILENT
                note += f" served {gap:.1f}" if served == SILENT else ""
            elif not reasons[number]:
                served, note = SILENT, f"{note} no reason"
            else:
                note += f" [{reasons[number].decode()}]"
            rows.append(Compared(name, prepared, served, note))
    return rows


def serve(files: Iterable[bytes], size: tuple[int, int]) -> list[np.ndarray]:
    """Images, valid and reasons that the served graph gives for the files."""
    import tensorflow as tf

    from tfskin.serving.robust_decode import decode_batch

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def decode(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return decode_batch(encoded, image_size=size, resize="squash")[:3]

    return [result.numpy() for result in decode(tf.constant(list(files)))]


def prepare(path: Path, data: bytes, expected: np.ndarray | None) -> tuple[str, str]:
    """What prepare makes of a file, and a note."""
    from tfskin.datasets.images import encode_image
    from tfskin.errors import UserError
    from tfskin.inputs.decode import decode_image

    path.write_bytes(data)
    try:
        stored = encode_image(path, max_side=64, jpeg_quality=95)
    except UserError as error:
        return "refused", str(error).split(": ", 1)[1][:60]
    finally:
        path.unlink()
    if expected is None:
        return SILENT, "Pillow can't read it"
    try:
        seen = decode_image(stored.data).numpy()
    except Exception as error:
        return SILENT, f"stored, and training can't read it: {str(error)[:60]}"
    if seen.shape != expected.shape:
        return SILENT, f"{seen.shape} instead of {expected.shape}"
    gap = np.abs(seen.astype(float) - expected)
    if stored.data == data:
        return ("equal" if gap.max() <= SAME else SILENT), f"{gap.max():.0f}"
    return ("re-encoded" if gap.mean() <= LOSSY else SILENT), f"{gap.mean():.1f}"


def show(data: bytes) -> np.ndarray | None:
    """Pillow's image, turned by EXIF, over white, the upper 8 of 16 bits: uint8 (h, w, 3)."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")
            image.load()
            image.info.pop("xmp", None)  # in which browsers don't look for an orientation
            image.info.pop("XML:com.adobe.xmp", None)
            upright: Image.Image = image
            try:
                upright = ImageOps.exif_transpose(image)
            except Exception:  # EXIF that can't be read turns nothing
                upright = image
            if upright.mode.startswith("I;16"):
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            return np.asarray(upright.convert("RGB"))
    except Exception:
        return None


if __name__ == "__main__":
    main()
