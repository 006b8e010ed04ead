"""What each network of the table costs, counted and measured."""

import statistics
import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from tfskin.errors import UserError, nearest_hint
from tfskin.models import (
    MODELS,
    build_model,
    builder_arguments,
    count_activations,
    count_flops,
    count_parameters,
)

BYTES = 4


@dataclass(frozen=True)
class Costs:
    """A row of the table.

    Attributes:
        model: the name.
        image_size: height and width, as text.
        parameters: all of them.
        trainable: those that train.
        gflops: of one image's forward pass, two per multiply-add, in 10^9.
        activations_mb: outputs of all layers for one image in float32, in 10^6 bytes.
        inference_images_per_s: measured, none without a benchmark.
        training_images_per_s: measured, none without a benchmark.
    """

    model: str
    image_size: str
    parameters: int
    trainable: int
    gflops: float
    activations_mb: float
    inference_images_per_s: float | None = None
    training_images_per_s: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """How speed is measured: the median of ``repeats`` timings after one that is not counted."""

    batch_size: int = 8
    repeats: int = 5


def list_costs(
    names: Sequence[str] = (),
    *,
    image_size: tuple[int, int] | None = None,
    num_classes: int = 1000,
    benchmark: Benchmark | None = None,
) -> Iterator[Costs]:
    """The costs of each network, one after the other, as they are known.

    Args:
        names: of the table; all unless given.
        image_size: height and width; each network's own unless given.
        num_classes: number of logits.
        benchmark: measure the speed on this machine too.

    Raises:
        UserError: an unknown name; a network that was asked for by name and that the image is too
            small for (of all networks, those are left out).
    """
    for name in names:
        if name not in MODELS:
            raise UserError(f"no network '{name}'{nearest_hint(name, list(MODELS))}")
    for name in names or MODELS:
        size = image_size or builder_arguments(name)["image_size"]
        try:
            model = build_model(name, image_size=size, num_classes=num_classes)
        except UserError as error:
            if names or "too small" not in str(error):
                raise
            continue
        yield _costs(model, name, benchmark)
        del model
        keras.backend.clear_session()


def _costs(model: keras.Model, name: str, benchmark: Benchmark | None) -> Costs:
    total, trainable = count_parameters(model)
    height, width = model.input_shape[1:3]
    speeds = measure_speed(model, benchmark) if benchmark else {}
    return Costs(
        model=name,
        image_size=f"{height}x{width}",
        parameters=total,
        trainable=trainable,
        gflops=round(count_flops(model) / 1e9, 3),
        activations_mb=round(count_activations(model) * BYTES / 1e6, 2),
        **speeds,
    )


def measure_speed(model: keras.Model, benchmark: Benchmark) -> dict[str, float]:
    """Images a second of ``predict_on_batch`` and ``train_on_batch``, compiled without XLA."""
    shape = (benchmark.batch_size, *model.input_shape[1:])
    images = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    labels = np.arange(len(images)) % model.output_shape[-1]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), loss, jit_compile=False)
    inference = _median(lambda: model.predict_on_batch(images), benchmark.repeats)
    training = _median(lambda: model.train_on_batch(images, labels), benchmark.repeats)
    return {
        "inference_images_per_s": round(len(images) / inference, 2),
        "training_images_per_s": round(len(images) / training, 2),
    }


def _median(step: Callable[[], Any], repeats: int) -> float:
    step()  # traces the graph
    return statistics.median(timeit.repeat(step, number=1, repeat=repeats))


def as_rows(costs: Sequence[Costs]) -> list[dict[str, Any]]:
    """The rows as dicts, for JSON and CSV."""
    return [asdict(row) for row in costs]
