"""The learning-rate range test: how the loss falls and blows up as the rate rises."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from tfskin.training.updates import OncePerUpdate, inner_optimizer

SMOOTHING = 0.9
"""Weight of the former losses in the smoothed loss."""

UNSETTLED = 10
"""So many first updates are not judged: the mean of smoothed losses is over ten updates."""

BLOWN_UP = 4.0
"""The test ends where the smoothed loss is so many times its lowest."""


class RateRange(NamedTuple):
    """What the test saw.

    Attributes:
        rates: learning rate of each update, float64 (N,).
        losses: loss of each update's images, smoothed, float64 (N,).
        steepest: the rate at which the smoothed loss falls fastest per factor of the rate, by
            straight lines through a sixth of all updates each.
        tenth: a tenth of the rate at which it is lowest.
    """

    rates: np.ndarray
    losses: np.ndarray
    steepest: float
    tenth: float


def measure_rates(
    model: keras.Model,
    make_epoch: Callable[[int], Any],
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    updates: int = 200,
    accumulate: int = 1,
) -> RateRange:
    """Train a compiled model while the rate rises geometrically; its weights are spoilt by it.

    Smith, "Cyclical Learning Rates for Training Neural Networks", 2015, arXiv:1506.01186, section
    3.3, with a geometric rise and a smoothed loss. Ends early where the loss is no number or
    ``BLOWN_UP`` times its lowest.

    Args:
        model: compiled, not trained with yet.
        make_epoch: epoch -> batches of (images, labels).
        lowest: the first rate.
        highest: the last rate.
        updates: how many updates lie between them.
        accumulate: batches an update.

    Raises:
        ValueError: the loss was no number from the start.
    """
    model.optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(
        lowest, max(updates - 1, 1), highest / lowest
    )
    optimizer = inner_optimizer(model.optimizer)
    if isinstance(optimizer, OncePerUpdate):
        optimizer.batches_per_epoch = None  # the end of an epoch is no update of its own here
    rates, losses = [], []
    total, smooth, best = 0.0, 0.0, np.inf
    batches = _endless(make_epoch)
    for number in range(updates):
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        loss = float(np.mean([_step(model, *next(batches)) for _ in range(accumulate)]))
        if not np.isfinite(loss):
            break
        total = SMOOTHING * total + (1 - SMOOTHING) * loss
        smooth = total / (1 - SMOOTHING ** (number + 1))
        rates.append(rate)
        losses.append(smooth)
        best = min(best, smooth)
        if smooth > BLOWN_UP * best:
            break
    if len(rates) < 2:
        raise ValueError(f"the loss is no number at learning rate {lowest:.3g} already")
    return _judge(np.array(rates), np.array(losses))


def _judge(rates: np.ndarray, losses: np.ndarray) -> RateRange:
    # The smoothed loss of the first updates is that of one or two batches.
    first = min(UNSETTLED, len(rates) // 4)
    lowest = first + int(np.argmin(losses[first:]))
    width = max(3, len(rates) // 6)
    starts = range(first, max(lowest + 1 - width, first) + 1)
    parts = [slice(start, start + width) for start in starts]
    slopes = [np.polyfit(np.log(rates[part]), losses[part], 1)[0] for part in parts]
    middle = min(starts[int(np.argmin(slopes))] + width // 2, lowest)
    return RateRange(rates, losses, float(rates[middle]), float(rates[lowest] / 10))


def _endless(make_epoch: Callable[[int], Any]) -> Iterator[tuple[Any, Any]]:
    epoch = 0
    while True:
        yield from make_epoch(epoch)
        epoch += 1


def _step(model: keras.Model, images: Any, labels: Any) -> float:
    model.reset_metrics()
    return float(model.train_on_batch(images, labels, return_dict=True)["loss"])
