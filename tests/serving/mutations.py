"""Damaged images, drawn from whole ones by a seed, and what must be true of the answers."""

from collections.abc import Iterator, Sequence

import numpy as np


def mutate(files: Sequence[bytes], *, count: int, seed: int) -> Iterator[bytes]:
    """``count`` files: bits flipped, bytes overwritten, cut off, cut out, doubled, spliced.

    Half of the changes fall on the first kilobyte, where the headers are.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(files[int(rng.integers(len(files)))])
        for _ in range(rng.integers(1, 5)):
            data = _change(data, rng, files)
        yield bytes(data)


def count_faults(answers: Sequence[dict[str, np.ndarray]]) -> int:
    """Rows that are neither valid, with probabilities that sum to 1, nor marked with a reason."""
    faults = 0
    for batch in answers:
        sums = batch["probabilities"].sum(axis=1)
        marked = np.array([reason != b"" for reason in batch["reason"]])
        fine = np.where(batch["valid"], ~marked & (np.abs(sums - 1) < 1e-4), marked & (sums == 0))
        faults += int((~fine).sum())
    return faults


def _change(data: bytearray, rng: np.random.Generator, files: Sequence[bytes]) -> bytearray:
    size = max(len(data), 1)
    place = int(rng.integers(min(size, 1024) if rng.random() < 0.5 else size))
    kind = rng.integers(6)
    if kind == 0 and data:
        data[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        length = int(rng.integers(1, 9))
        data[place : place + length] = rng.bytes(length)
    elif kind == 2:
        length = int(rng.integers(1, 5))
        data[place : place + length] = (b"\x00", b"\xff")[int(rng.integers(2))] * length
    elif kind == 3 and rng.random() < 0.3:
        del data[place:]
    elif kind == 4:
        del data[place : place + int(rng.integers(1, 64))]
    elif kind == 5:
        other = files[int(rng.integers(len(files)))]
        start = int(rng.integers(len(other)))
        data[place:place] = other[start : start + int(rng.integers(1, 256))]
    return data
