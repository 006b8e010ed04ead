"""Pairs of binary hashes that differ in few bits, found without comparing every pair."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

MISSED = 0.001
"""Probability, at most, that a pair as far apart as the limit is not found."""

_PAIRS_AT_ONCE = 2**14  # 4 MiB of hashes
_ROWS_AT_ONCE = 256
_KEY_BITS = range(8, 25)
_SAMPLED_TABLES = 3
_CANDIDATE_COST = 8.0  # of comparing a pair that was looked up, in comparisons row by row
_TABLE_COST = 7.0  # of a table, a hash, in the same
_FOUND_AT_ONCE = 2**22  # before repetitions are dropped
_NONE = np.zeros((0, 3), np.int64)


def find_pairs(queries: np.ndarray, hashes: np.ndarray, limit: int, *, seed: int = 0) -> np.ndarray:
    """Pairs ``(i, j)``, ``i < j``, of which query ``i`` and hash ``j`` differ in few bits.

    By locality-sensitive hashing (Indyk and Motwani 1998, by sampled bits: Gionis, Indyk and
    Motwani 1999): two hashes are compared where they agree in some ``k`` bits drawn at random.
    Of ``b`` bits, a pair that differs in ``d`` does so with probability about ``(1 - d / b) ** k``,
    and there are as many tables, each with bits of its own, as leave a pair at the limit unfound
    with probability ``MISSED``; nearer pairs are far surer. This holds for any hashes, for the bits
    are drawn and not the hashes. ``k`` is the cheapest, measured on the hashes: about
    ``log2(N)`` where they are alike in no way, more where many are. Where comparing every pair is
    cheaper still, that is done.

    Args:
        queries: uint64 (N, W); query ``i`` belongs to hash ``i`` (it may be the hash turned).
        hashes: uint64 (N, W), C-contiguous.
        limit: most bits in which a pair differs.
        seed: of the bits that are drawn; the same seed finds the same pairs.

    Returns:
        int64 (pairs, 3): query, hash, distance; sorted, no pair twice.
    """
    bits = queries.shape[1] * 64
    generator = np.random.default_rng(seed)
    columns = np.ascontiguousarray(queries.T), np.ascontiguousarray(hashes.T)
    width = _choose_width(columns, bits, limit, generator)
    if width is None:
        return np.concatenate(list(_compare_all(queries, columns[1], limit)) or [_NONE])
    found = [_NONE]
    for _ in range(_count_tables(bits, limit, width)):
        places = generator.choice(bits, width, replace=False)
        query_keys, hash_keys = (_make_keys(part, places) for part in columns)
        for rows, others in _candidates(query_keys, hash_keys, width):
            distances = _count_differing(
                np.take(queries, rows, axis=0), np.take(hashes, others, axis=0)
            )
            found.append(_within(limit, rows, others, distances))
        if sum(map(len, found)) > _FOUND_AT_ONCE:
            found = [_drop_repetitions(np.concatenate(found))]
    return _drop_repetitions(np.concatenate(found))


def _count_tables(bits: int, limit: int, width: int) -> int:
    """Tables that leave a pair at the limit unfound with probability ``MISSED`` at most."""
    if limit <= 0:
        return 1
    agree = math.prod((bits - limit - n) / (bits - n) for n in range(width))
    return math.ceil(math.log(MISSED) / math.log1p(-agree)) if agree > 0 else 2**62


def _choose_width(
    columns: tuple[np.ndarray, np.ndarray], bits: int, limit: int, generator: np.random.Generator
) -> int | None:
    """The number of bits a key with which the search costs least; None: compare every pair.

    The cost is counted in comparisons of two hashes; candidates are counted in a few tables.
    """
    count = columns[1].shape[1]
    best, least = None, count * (count - 1) / 2
    for width in _KEY_BITS:
        tables = _count_tables(bits, limit, width)
        cost_of_tables = tables * _TABLE_COST * (count + 2**width)
        if cost_of_tables > least:
            break  # wider keys need more tables still
        candidates = []
        for _ in range(_SAMPLED_TABLES):
            places = generator.choice(bits, width, replace=False)
            keys = (_make_keys(part, places) for part in columns)
            left, right = (np.bincount(part, minlength=2**width) for part in keys)
            candidates.append(float(left @ right) / 2)
        cost = cost_of_tables + tables * _CANDIDATE_COST * float(np.mean(candidates))
        if cost < least:
            best, least = width, cost
    return best


def _make_keys(columns: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The bits at ``places`` of each hash as one number: uint32 (N,); ``columns``: (W, N)."""
    keys = np.zeros(columns.shape[1], np.uint32)
    for place in places:
        word, shift = divmod(int(place), 64)
        keys = (keys << np.uint32(1)) | ((columns[word] >> np.uint64(shift)) & np.uint64(1)).astype(
            np.uint32
        )
    return keys


def _candidates(
    query_keys: np.ndarray, hash_keys: np.ndarray, width: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of equal keys with the query before the hash, some at a time."""
    order = np.argsort(hash_keys)
    starts = np.concatenate(
        [[0], np.cumsum(np.bincount(hash_keys, minlength=2**width), dtype=np.int64)]
    )
    first, counts = starts[query_keys], starts[query_keys + 1] - starts[query_keys]
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        part = counts[start:stop]
        rows = np.repeat(np.arange(start, stop), part)
        offsets = np.repeat(first[start:stop] - (ends[start:stop] - part - done), part)
        others = np.take(order, offsets + np.arange(len(rows)))
        kept = others > rows
        yield rows[kept], others[kept]
        start = stop


def _count_differing(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """In how many bits each row of one differs from that of the other: int64 (N,).

    ``np.take`` gathers rows five times as fast as an index, ``np.einsum`` adds bytes three times as
    fast as ``sum``; both are most of the search.
    """
    counts = np.bitwise_count(first ^ second)
    return np.einsum("ij->i", counts, dtype=np.uint32, casting="unsafe").astype(np.int64)


def _compare_all(queries: np.ndarray, columns: np.ndarray, limit: int) -> Iterator[np.ndarray]:
    """Every pair within ``limit``, in order; ``columns``: the hashes, (W, N)."""
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        part = queries[start : start + _ROWS_AT_ONCE]
        distances = np.zeros((len(part), columns.shape[1] - start), np.uint16)
        for number, column in enumerate(columns):
            distances += np.bitwise_count(part[:, number, None] ^ column[None, start:])
        rows, others = np.nonzero(np.triu(distances <= limit, 1))
        found = np.stack([rows + start, others + start, distances[rows, others]], axis=1)
        yield found.astype(np.int64)


def _within(limit: int, rows: np.ndarray, others: np.ndarray, distances: np.ndarray) -> np.ndarray:
    near = distances <= limit
    return np.stack([rows[near], others[near], distances[near]], axis=1).astype(np.int64)


def _drop_repetitions(found: np.ndarray) -> np.ndarray:
    """Sorted by query and hash, each pair once."""
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    new = np.ones(len(found), bool)
    new[1:] = (found[1:, :2] != found[:-1, :2]).any(axis=1)
    return found[new]
