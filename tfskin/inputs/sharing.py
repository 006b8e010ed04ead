"""Which rows of a pass this process reads, where the replicas of several share one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class ReplicaShare:
    """The replicas of this process among all that train one model.

    Attributes:
        replicas: of all processes together.
        first: the number of this process's first one.
        local: how many are this process's.
    """

    replicas: int = 1
    first: int = 0
    local: int = 1


def local_batches(count: int, batch_size: int, share: ReplicaShare) -> np.ndarray:
    """First and last row (exclusive) of each of this process's batches: int64 (batches, 2).

    A step takes the next ``batch_size * replicas`` rows, replica after replica; so it is the
    batch that one process alone takes, if its batches are as large as all of these together. The
    last step deals out what is left, the first replicas at most one row more than the others.
    This process's batches of one step follow one another.
    """
    together = batch_size * share.replicas
    begins = np.arange(0, count, together)[:, None]
    numbers = np.arange(share.first, share.first + share.local)[None, :]
    every, more = np.divmod(np.minimum(count - begins, together), share.replicas)
    starts = begins + numbers * every + np.minimum(numbers, more)
    stops = starts + every + (numbers < more)
    return np.stack([starts.ravel(), stops.ravel()], axis=1)


def local_rows(count: int, share: ReplicaShare) -> tuple[int, int]:
    """First and last row (exclusive) of this process's share of a pass that has no steps."""
    processes, number = share.replicas // share.local, share.first // share.local
    return count * number // processes, count * (number + 1) // processes


def take_local(
    records: tf.data.Dataset, batches: np.ndarray, *, share: ReplicaShare, first: int, step: int
) -> tf.data.Dataset:
    """Of ``records`` those in ``batches``; the others are passed over before anything is decoded.

    Args:
        records: of a pass, from row ``first`` on.
        batches: of :func:`local_batches`.
        share: whose they are.
        first: the row of the first record.
        step: rows of a whole step.
    """
    starts = tf.constant(batches[:: share.local, 0])
    stops = tf.constant(batches[share.local - 1 :: share.local, 1])

    def is_ours(row: tf.Tensor, _: tuple[tf.Tensor, ...]) -> tf.Tensor:
        place = row // step
        return (row >= starts[place]) & (row < stops[place])

    return records.enumerate(start=first).filter(is_ours).map(lambda _, record: record)
