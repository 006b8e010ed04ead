"""One model on several GPUs or machines: the only file of this room that speaks to TensorFlow.

Each step runs on every replica, gradients are summed over all, and every replica makes the same
update of its own copy. Keras's ``fit`` under these strategies (3.15) reduces scalars over an axis
that they lack, takes the mean of means where a last batch is dealt out unevenly, clips each
replica's gradient on its own, and can't accumulate; so the steps are made here, by
``tf.distribute``, with the model's own loss, metrics and optimizer.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow.optimizer import TFOptimizer
from keras.src.optimizers.base_optimizer import BaseOptimizer

from tfskin.errors import UserError
from tfskin.training.losses import class_shares
from tfskin.training.replicas import Replicas
from tfskin.training.steps import StepWatch
from tfskin.training.updates import inner_optimizer

Kind = Literal["mirrored", "multi_worker"]

TESTED = "3.15"
"""The Keras whose optimizers :func:`_update_own_copy` is known to fit."""

_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
"""What a sum over all processes raises when one of them is gone; others say so in their text."""


class Distribution(Replicas):
    """The GPUs of a machine, or the machines of a job, that train one model together.

    Made before anything else of the process touches TensorFlow.

    Args:
        kind: ``mirrored``: every GPU of this machine (or logical CPU, where there is none);
            ``multi_worker``: every machine that the environment variable ``TF_CONFIG`` names.

    Raises:
        UserError: another Keras than the tested one; no or a wrong ``TF_CONFIG``.
    """

    def __init__(self, kind: Kind) -> None:
        if keras.backend.backend() != "tensorflow":
            raise UserError(
                f"train.distribution: {kind} needs KERAS_BACKEND=tensorflow, "
                f"not {keras.backend.backend()}"
            )
        if ".".join(keras.__version__.split(".")[:2]) != TESTED:
            raise UserError(
                f"train.distribution: is tested with Keras {TESTED} and this is "
                f"{keras.__version__}; install keras~={TESTED}.0, or set it to none"
            )
        self.kind = kind
        self.strategy = _make_strategy(kind)
        own = self._per_replica(lambda number: tf.constant(number))
        numbers = [int(value) for value in self.strategy.experimental_local_results(own)]
        self.replicas = self.strategy.num_replicas_in_sync
        self.first, self.local = numbers[0], len(numbers)

    def facts(self) -> dict[str, Any]:
        """What ``environment.json`` says of the replicas."""
        return {"distribution": str(self), "replicas": self.replicas}

    def __str__(self) -> str:
        """``multi_worker: 4 replicas in 2 processes, this is number 0``."""
        workers = self.replicas // self.local
        text = f"{self.kind}: {self.replicas} replica{'s' * (self.replicas > 1)}"
        if self.kind == "mirrored":
            return text
        return f"{text} in {workers} processes, this is number {self.first // self.local}"

    def scope(self) -> AbstractContextManager[Any]:
        """Where the model's and the optimizer's variables are made."""
        return self.strategy.scope()

    def adopt(self, model: keras.Model) -> None:
        """Make a freshly compiled model fit for :meth:`train_epoch`.

        Batch normalisations take the statistics of all replicas together, and each replica
        updates its own copy of the weights.
        """
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        optimizer = model.optimizer
        build = optimizer.build

        def build_in_scope(variables: list[Any]) -> None:
            with self.scope():
                _update_own_copy(optimizer)
                build(variables)

        optimizer.build = build_in_scope

    def begin(self, model: keras.Model) -> None:
        """Check that every process holds the same weights, and let each replica drop its own.

        Raises:
            UserError: the weights differ.
        """
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        digest = hashlib.sha256()
        for variable in model.trainable_variables:
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
        self.check_agreement(
            digest.hexdigest(), "weights; model.weights must be the same file on all of them"
        )
        self._spread_seeds(model)
        self._step = self._make_step(model)
        self._count = _make_count(model)
        self._model, self._classes = model, model.output_shape[-1]

        @tf.function(reduce_retracing=True, autograph=False)
        def forward(images: Any) -> Any:
            return self.strategy.run(partial(model, training=False), args=(images,))

        self._forward = forward

    def check_agreement(self, text: str, what: str) -> None:
        """Raise unless ``text`` is the same in every process.

        Raises:
            UserError: says of ``what`` that it differs.
        """
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) + 1
        all_numbers = np.zeros(self.replicas // self.local, np.int64)
        all_numbers[self.first // self.local] = number
        if len(set(self._sum(all_numbers).tolist())) > 1:
            raise UserError(f"train.distribution: the processes of this job differ in {what}")

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        self._sum(np.zeros(1, np.int64))

    def train_epoch(
        self, batches: Iterable[Any], *, images: int, images_per_step: int, watch: StepWatch
    ) -> dict[str, float]:
        """As :meth:`Replicas.train_epoch`, after :meth:`adopt` and :meth:`begin`.

        Raises:
            UserError: another process is gone.
        """
        model = self._model
        model.reset_metrics()
        watch.set_model(model)
        watch.on_epoch_begin(0)
        size = images_per_step // self.replicas
        iterator = iter(batches)
        loss = next(metric for metric in model.metrics if metric.name == "loss")
        for step in range(watch.first, -(-images // images_per_step)):
            now = min(images_per_step, images - step * images_per_step)
            local = [next(iterator) for _ in range(self.local)]
            seen, labels = (self._of_local([batch[i] for batch in local]) for i in (0, 1))
            with self._others_there():
                rows, step_loss = self._step(seen, labels, tf.constant(now), size)
                self._count(step_loss, tf.constant(now), rows)
            watch.on_train_batch_end(step - watch.first, {"loss": float(loss.result())})
        return {name: float(value) for name, value in model.get_metrics_result().items()}

    def predict(self, batches: Iterable[Any], rows: tuple[int, int, int] | None) -> np.ndarray:
        """As :meth:`Replicas.predict`; each process computes its rows, which must be given."""
        assert rows is not None
        first, last, total = rows
        found: list[np.ndarray] = []
        waiting: list[Any] = []

        def compute() -> None:
            # Where too few batches are left, the other replicas repeat the first one.
            filled = waiting + waiting[:1] * (self.local - len(waiting))
            results = self.strategy.experimental_local_results(
                self._forward(self._of_local(filled))
            )
            found.extend(result.numpy() for result in results[: len(waiting)])
            waiting.clear()

        for images, _ in batches:
            waiting.append(images)
            if len(waiting) == self.local:
                compute()
        if waiting:
            compute()
        logits = np.zeros((total, self._classes), np.float32)
        if found:
            logits[first:last] = np.concatenate(found)
        return self._sum(logits)

    def _make_step(self, model: keras.Model) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """``(images, labels, images of the step, rows a replica) -> (rows, loss)``, all summed.

        ``rows`` is (replicas * rows a replica, 2 C), a row of logits and class shares for each
        image and of zeros where a replica has fewer.
        """
        optimizer, variables = model.optimizer, model.trainable_variables
        classes = model.output_shape[-1]

        def on_replica(images: Any, labels: Any, total: tf.Tensor, size: int) -> Any:
            context = tf.distribute.get_replica_context()
            count = tf.shape(images)[0]
            # The loss is divided by this replica's images and by the number of replicas.
            weight = tf.cast(count * self.replicas, tf.float32) / tf.cast(total, tf.float32)
            with tf.GradientTape() as tape:
                outputs = model(images, training=True)
                weights = tf.fill([count], weight)
                loss = model.compute_loss(images, labels, outputs, weights, training=True)
                scaled = optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, variables)
            pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
            summed = context.all_reduce("SUM", [gradient for gradient, _ in pairs])
            optimizer.apply(summed, [variable for _, variable in pairs])
            logits = outputs[0] if isinstance(outputs, list | tuple) else outputs
            row = tf.concat([logits, class_shares(labels, classes)], axis=1)
            row = tf.pad(row, [[0, size - count], [0, 0]])
            place = [[context.replica_id_in_sync_group]]
            rows = tf.scatter_nd(place, row[None], [self.replicas, size, 2 * classes])
            return context.all_reduce("SUM", [rows, loss])

        @tf.function(reduce_retracing=True, autograph=False)
        def step(images: Any, labels: Any, total: tf.Tensor, size: int) -> Any:
            rows, loss = self.strategy.run(on_replica, args=(images, labels, total, size))
            first = (self.strategy.experimental_local_results(value)[0] for value in (rows, loss))
            rows, loss = first
            return tf.reshape(rows, (-1, 2 * classes)), loss

        return step

    def _spread_seeds(self, model: keras.Model) -> None:
        """Give each replica's dropout a seed of its own, a function of the first replica's."""
        states = [v.value for v in model.variables if v.path.endswith("seed_generator_state")]

        def on_replica() -> None:
            context = tf.distribute.get_replica_context()
            number = tf.cast(context.replica_id_in_sync_group, tf.int64)
            for state in states:
                own = tf.cast(state, tf.int64) * tf.cast(number == 0, tf.int64)
                of_first = context.all_reduce("SUM", own)
                state.assign(tf.cast(of_first + tf.stack([number, 0]), state.dtype))

        if states:
            tf.function(lambda: self.strategy.run(on_replica), autograph=False)()

    def _of_local(self, values: list[Any]) -> Any:
        return self._per_replica(lambda number: values[number - self.first])

    def _per_replica(self, make: Callable[[int], Any]) -> Any:
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: make(context.replica_id_in_sync_group)
        )

    def _sum(self, value: np.ndarray) -> np.ndarray:
        """The sum of the processes' arrays, in all of them."""
        nothing = np.zeros_like(value)
        with self._others_there():
            shares = self._per_replica(
                lambda number: tf.constant(value if number == self.first else nothing)
            )
            return self.strategy.reduce("SUM", shares, axis=None).numpy()

    @contextmanager
    def _others_there(self) -> Iterator[None]:
        """Say in words that another process has gone."""
        try:
            yield
        except tf.errors.OpError as error:
            found = re.search(r"Collective ops is aborted by: ([^\n]*)", str(error.message))
            if self.kind == "mirrored" or not (found or isinstance(error, _LOST)):
                raise
            reason = found.group(1) if found else type(error).__name__
            raise UserError(
                f"another process of this job is gone ({reason}); start the same command again "
                "on all machines, and it goes on from the last checkpoint"
            ) from None


def _make_strategy(kind: Kind) -> tf.distribute.Strategy:
    if kind == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    text = os.environ.get("TF_CONFIG", "")
    try:
        place = json.loads(text)
        workers, index = place["cluster"]["worker"], int(place["task"]["index"])
        fits = place["task"]["type"] == "worker" and 0 <= index < len(workers)
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise UserError(
            "train.distribution: multi_worker needs the environment variable TF_CONFIG, such as "
            '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", '
            f'"index": 0}}}}, and it is {text or "not set"}; see docs/distribution.md'
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise UserError(
            f"train.distribution: multi_worker must be the first that a process does ({error})"
        ) from None


def _make_count(model: keras.Model) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], None]:
    """Let the metrics see a step's loss, number of images and rows, as one process would."""
    loss = next(metric for metric in model.metrics if metric.name == "loss")
    classes = model.output_shape[-1]

    @tf.function(reduce_retracing=True, autograph=False)
    def count(step_loss: tf.Tensor, images: tf.Tensor, rows: tf.Tensor) -> None:
        seen = rows[tf.reduce_any(rows[:, classes:] != 0, axis=1)]
        loss.update_state(step_loss, sample_weight=images)
        model.compute_metrics(None, seen[:, classes:], seen[:, :classes])

    return count


def _update_own_copy(optimizer: Any) -> None:
    """Let an unbuilt optimizer, called on each replica, update that replica's variables alone.

    Keras's would sum the gradients once more and switch to the view of all replicas, which may
    not be done within a condition (accumulation, loss scaling).
    """
    inner = inner_optimizer(optimizer)
    inner._backend_update_step = partial(BaseOptimizer._backend_update_step, inner)
    if type(inner)._apply_weight_decay is TFOptimizer._apply_weight_decay:
        inner._apply_weight_decay = partial(BaseOptimizer._apply_weight_decay, inner)
    if inner is not optimizer:
        optimizer._tf_apply = optimizer._common_apply
    # As made by Keras it may not be counted up by a replica alone.
    counter = keras.Variable(0, dtype="int", trainable=False, name="iteration")
    place = next(i for i, v in enumerate(inner._variables) if v is inner._iterations)
    inner._variables[place] = vars(inner)["_iterations"] = counter
