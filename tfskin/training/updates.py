"""What happens once an update: gradients of several batches as one, and averages of the weights.

Keras's own ``gradient_accumulation_steps`` counts a schedule's steps in batches, moves averages
once a batch, and lets a group run on over the end of an epoch; here each is once an update, and
the updates of an epoch are those of the large batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from tfskin.training.checkpoints import assign_all, copy_values
from tfskin.training.recalibration import batch_norm_layers


class OncePerUpdate:
    """An optimizer that updates once in ``accumulate`` batches, and averages weights.

    An update takes the mean gradient over the images of its batches, clips it, decays and moves
    the weights, and then moves their average. Loss scaling wraps this optimizer, so gradients are
    unscaled before they are added up, and a batch that overflows is left out; where that is the
    last of a group, the others wait for the next group's update. The last update of an epoch has
    what batches are left, and a smaller last batch counts by its images, so that a network
    without batch normalisation gets the updates of a batch ``accumulate`` times as large.
    ``iterations`` and so the schedule count updates.

    The average is ``d * average + (1 - d) * weight`` with ``d = min(ema, (1 + n) / (10 + n))``
    after ``n`` updates, as in ``tf.train.ExponentialMovingAverage``, and the weight itself at
    first.

    Args:
        *args: of the optimizer.
        accumulate: batches an update.
        batches_per_epoch: an epoch's number of batches; none: groups run on over its end.
        last_batch: images of an epoch's last batch as a fraction of a batch.
        ema: the decay of the average; 0: none.
        **kwargs: of the optimizer.

    Raises:
        NotImplementedError: accumulation or averages on JAX, whose steps have no state.
    """

    _updates: Any = None
    also_averaged: Callable[[], Sequence[Any]] = staticmethod(lambda: ())
    left_out: Callable[[], Any] = staticmethod(lambda: 0)

    def __init__(
        self,
        *args: Any,
        accumulate: int = 1,
        batches_per_epoch: int | None = None,
        last_batch: float = 1.0,
        ema: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if keras.backend.backend() == "jax" and (accumulate > 1 or ema):
            raise NotImplementedError("accumulate and ema need the TensorFlow backend of Keras")
        self.accumulate = accumulate
        self.batches_per_epoch = batches_per_epoch
        self.last_batch = last_batch
        self.ema = ema

    @property
    def iterations(self) -> Any:
        """Updates so far."""
        return self._iterations if self._updates is None else self._updates  # type: ignore[attr-defined]

    def build(self, variables: list[Any]) -> None:
        """Create the slots."""
        super().build(variables)  # type: ignore[misc]
        made = self.add_variable_from_reference  # type: ignore[attr-defined]
        if self.accumulate > 1:
            self._updates = self.add_variable((), dtype="int", name="updates")  # type: ignore[attr-defined]
            self._batches = self.add_variable((), dtype="float32", name="batches")  # type: ignore[attr-defined]
            self._sums = [made(variable, name="sum") for variable in variables]
        if self.ema:
            averaged = [*variables, *self.also_averaged()]
            # A list of variables as an attribute would make them variables of the optimizer.
            self._averaged = lambda: averaged
            self._averages = [made(variable, name="average") for variable in averaged]

    def averages(self) -> list[tuple[Any, Any]]:
        """``(variable, its average)`` of each that is averaged; none before the first update."""
        if not self.ema or not self.built or not ops.convert_to_numpy(self.iterations):  # type: ignore[attr-defined]
            return []
        return list(zip(self._averaged(), self._averages, strict=True))

    def _get_current_learning_rate(self) -> Any:
        rate = self._learning_rate  # type: ignore[attr-defined]
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            return rate(self.iterations)
        return super()._get_current_learning_rate()  # type: ignore[misc]

    def _backend_apply_gradients(self, grads: list[Any], trainable_variables: list[Any]) -> None:
        if self.accumulate == 1:
            super()._backend_apply_gradients(grads, trainable_variables)  # type: ignore[misc]
            self._move_averages()
            return
        position = self._iterations + self.left_out()  # type: ignore[attr-defined]
        is_last = False
        if self.batches_per_epoch:
            position = position % self.batches_per_epoch
            is_last = ops.equal(position + 1, self.batches_per_epoch)
        place = position % self.accumulate
        is_update = ops.logical_or(ops.equal(place + 1, self.accumulate), is_last)
        weight = ops.where(is_last, self.last_batch, 1.0)
        index = self._get_variable_index  # type: ignore[attr-defined]
        sums = [self._sums[index(variable)] for variable in trainable_variables]
        added = [total + weight * gradient for total, gradient in zip(sums, grads, strict=True)]
        batches = self._batches + weight

        def update() -> None:
            self._update([total / batches for total in added], trainable_variables)
            self._batches.assign(0.0)
            for total in sums:
                total.assign(ops.zeros_like(total))

        def wait() -> None:
            self._batches.assign(batches)
            for total, value in zip(sums, added, strict=True):
                total.assign(value)

        ops.cond(is_update, update, wait)

    def _update(self, gradients: list[Any], variables: list[Any]) -> None:
        gradients = self._clip_gradients(gradients)  # type: ignore[attr-defined]
        self._apply_weight_decay(variables)  # type: ignore[attr-defined]
        self._backend_update_step(gradients, variables, self.learning_rate)  # type: ignore[attr-defined]
        self._move_averages()
        self._updates.assign_add(1)

    def _move_averages(self) -> None:
        if not self.ema:
            return
        done = ops.cast(self.iterations, "float32")
        decay = ops.minimum(self.ema, (1.0 + done) / (10.0 + done))
        decay = ops.where(done == 0, 0.0, decay)
        for variable, average in zip(self._averaged(), self._averages, strict=True):
            average.assign(decay * average + (1.0 - decay) * variable)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again."""
        return {
            **super().get_config(),  # type: ignore[misc]
            "accumulate": self.accumulate,
            "batches_per_epoch": self.batches_per_epoch,
            "last_batch": self.last_batch,
            "ema": self.ema,
        }


@keras.saving.register_keras_serializable(package="tfskin")
class CountingLossScale(keras.optimizers.LossScaleOptimizer):
    """Loss scaling for float16 that counts the steps it skips.

    A step whose gradients overflow changes nothing but the scale, which is halved (Micikevicius
    et al., "Mixed Precision Training", 2017, arXiv:1710.03740, section 3.2).
    """

    def build(self, variables: list[Any]) -> None:
        """Create the slots, and the counter."""
        self.skipped = self.add_variable((), dtype="int", name="skipped")
        if isinstance(self.inner_optimizer, OncePerUpdate):
            self.inner_optimizer.left_out = lambda: self.skipped
        super().build(variables)

    def _stateful_handle_non_finite_grads(self) -> None:
        super()._stateful_handle_non_finite_grads()
        self.skipped.assign_add(1)

    def _stateless_handle_non_finite_grads(
        self, optimizer_variables: list[Any], trainable_variables: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        weights, slots = super()._stateless_handle_non_finite_grads(
            optimizer_variables, trainable_variables
        )
        number = next(i for i, v in enumerate(self.variables) if v is self.skipped)
        slots[number] = slots[number] + 1
        return weights, slots


def skipped_steps(optimizer: keras.optimizers.Optimizer) -> int | None:
    """Steps that overflow has cost this optimizer so far; none where no loss is scaled."""
    if not isinstance(optimizer, CountingLossScale):
        return None
    return int(ops.convert_to_numpy(optimizer.skipped)) if optimizer.built else 0


def inner_optimizer(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer itself, or the one that loss scaling wraps."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def average_statistics(optimizer: Any, model: keras.Model) -> None:
    """Average the moving statistics of batch normalisation along with the weights.

    They belong to weights that are not the average; an average of theirs is nearer.
    """
    moving = [x for x in batch_norm_layers(model) if x.trainable and x.mode == "update"]
    found = [weight for x in moving for weight in (x.moving_mean, x.moving_variance)]
    optimizer.also_averaged = lambda: found


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """The model with its weights' averages in it, where its optimizer keeps any; then as before."""
    optimizer = inner_optimizer(model.optimizer)
    pairs: Sequence[tuple[Any, Any]] = ()
    if isinstance(optimizer, OncePerUpdate):
        pairs = optimizer.averages()
    variables = [variable for variable, _ in pairs]
    former = copy_values(variables)
    try:
        for variable, average in pairs:
            variable.assign(average)
        yield
    finally:
        assign_all(variables, former)
