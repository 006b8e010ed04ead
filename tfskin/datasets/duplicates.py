"""Near duplicates: pairs of images that show the same thing, found by perceptual hash."""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image

from tfskin.datasets.hash_search import find_pairs
from tfskin.progress import progress_bar

HASH_SIZE = 32
HASH_BITS = HASH_SIZE * HASH_SIZE
HASH_WORDS = HASH_BITS // 64
MAX_DISTANCE = 280
MAX_TURNED_DISTANCE = 200
TURNS = 8
"""Mirrorings and quarter turns of an image, the image itself (0) among them."""
HASHED_SIDE = HASH_SIZE * 4  # what imagehash.phash resizes to
_TURNED_AT_ONCE = 16384  # turning a hash takes 3 KiB


def hash_image(image: Image.Image) -> np.ndarray:
    """The perceptual hash of one upright image: uint64 (16,).

    The signs of the 32 x 32 lowest cosine frequencies about their median (``imagehash.phash``), in
    grey.
    """
    import imagehash

    bits = imagehash.phash(image, hash_size=HASH_SIZE).hash
    return np.packbits(bits).view(np.uint64)


def turn_hashes(hashes: np.ndarray, turn: int) -> np.ndarray:
    """The hashes that the images would have mirrored or turned: uint64 (N, 16).

    A mirrored image has the same cosine frequencies with the odd ones negated, a transposed one
    has them transposed, so no image is read again. A frequency between 0 and the median, whose
    sign is about the median, comes out wrong: a few bits of 1024.

    Args:
        hashes: uint64 (N, 16), each as :func:`hash_image` returns it.
        turn: 0 to 7; bit 0 mirrors left and right, bit 1 top and bottom, bit 2 transposes first.
    """
    bits = np.unpackbits(hashes.view(np.uint8).reshape(len(hashes), HASH_BITS // 8), axis=1)
    bits = bits.reshape(len(hashes), HASH_SIZE, HASH_SIZE)
    if turn & 4:
        bits = bits.transpose(0, 2, 1)
    odd = np.arange(HASH_SIZE, dtype=np.uint8) % 2
    flips = (odd[None, :] * (turn & 1)) ^ (odd[:, None] * (turn >> 1 & 1))
    packed = np.packbits((bits ^ flips).reshape(len(hashes), HASH_BITS), axis=1)
    return np.ascontiguousarray(packed).view(np.uint64)


def compare_hashes(
    hashes: np.ndarray,
    *,
    max_distance: int = MAX_DISTANCE,
    max_turned_distance: int = MAX_TURNED_DISTANCE,
) -> pd.DataFrame:
    """Pairs of near duplicates: a frame with int64 columns first, second, distance, turn.

    ``first < second`` are rows of ``hashes``; ``distance`` counts the bits, of 1024, in which the
    two differ (unrelated images: about 512), the least of all turns; ``turn`` is 0 for images that
    lie the same way, 1 to 7 for mirrored and turned ones. Rows are sorted by first, then second.

    Hash size and thresholds were measured on 8,012 images of 5,976 lesions of HAM10000, where
    32,089,500 pairs are of different lesions and 2,566 of the same one. Lying the same way, at
    280 bits, two pairs of different lesions are linked; looked at, both are the same photograph
    or the same lesion taken twice under two lesion ids. The next pairs across lesions (314 and
    up) are small dark spots in the middle of vignetted frames that only look alike. 114 pairs of
    the same lesion are linked, the rest are other views. Of 236 images of the ISIC Archive none
    are linked. Mirrored or turned, unrelated blurred images come as near as 266 bits, so those
    are linked up to 200 bits only, where HAM10000 has none. ImageHash's default of 8 x 8 bits
    fails on dermoscopy: the threshold that links 96 pairs of the same lesion links 198 of
    different ones.

    Of copies of 201 of those images, all are found after JPEG of quality 30, halving, tripling,
    30 % less light, or a shift by 2 % of the width; 94 % after a crop by 2 % on each side. A crop
    by 5 % is not found.

    Equal hashes are linked to the first of them, not each to each. Not every pair is compared:
    see :func:`tfskin.datasets.hash_search.find_pairs` for how, and for what may be missed (of
    pairs as far apart as the limit one in a thousand, of nearer ones fewer). On HAM10000 it finds
    what comparing every pair finds: 116 links, two of them of equal hashes. A third image near
    such a pair is linked to the first of it only, so that the groups are the same; counted one by
    one the pairs are 118.

    Args:
        hashes: uint64 (N, 16), each as :func:`hash_image` returns it.
        max_distance: 0 to 1024, for turn 0.
        max_turned_distance: 0 to 1024, for turns 1 to 7.
    """
    hashes = np.ascontiguousarray(hashes)
    distinct, first_place, back = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first_place)  # in the order of the images, so that first < second
    distinct, first_place = distinct[order], first_place[order]
    place = first_place[np.argsort(order)[back.ravel()]] if len(hashes) else first_place
    again = np.flatnonzero(place != np.arange(len(hashes)))
    zeros = np.zeros(len(again), np.int64)
    chunks = [np.stack([place[again], again, zeros, zeros], axis=1)]
    with progress_bar("near duplicates", total=TURNS) as advance:
        for turn in range(TURNS):
            limit = max_turned_distance if turn else max_distance
            found = find_pairs(_turn_all(distinct, turn), distinct, limit, seed=turn)
            turns = np.full(len(found), turn)
            ends = first_place[found[:, 0]], first_place[found[:, 1]]
            chunks.append(np.stack([*ends, found[:, 2], turns], axis=1).astype(np.int64))
            advance(1)
    pairs = pd.DataFrame(np.concatenate(chunks), columns=["first", "second", "distance", "turn"])
    pairs = pairs.sort_values(["first", "second", "distance", "turn"], ignore_index=True)
    return pairs.drop_duplicates(["first", "second"], ignore_index=True)


def _turn_all(hashes: np.ndarray, turn: int) -> np.ndarray:
    if not turn:
        return hashes
    starts = range(0, len(hashes), _TURNED_AT_ONCE)
    parts = [turn_hashes(hashes[start : start + _TURNED_AT_ONCE], turn) for start in starts]
    return np.concatenate(parts) if parts else hashes
