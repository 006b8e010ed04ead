"""Shards -> batches of images and labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfskin.inputs.augment import make_augment
from tfskin.inputs.classes import class_names, count_images
from tfskin.inputs.crops import make_crop
from tfskin.inputs.decode import decode_image, make_resize
from tfskin.inputs.mixing import draw_mix, mix_batch, mixes
from tfskin.inputs.reading import read_images, read_places
from tfskin.inputs.sampling import sample_counts
from tfskin.inputs.sharing import ReplicaShare, local_batches, local_rows, take_local
from tfskin.inputs.windows import count_along, cut_window
from tfskin.schema import AugmentConfig, Resize, Sampling, WindowConfig

if TYPE_CHECKING:
    from tfskin.datasets.shards import Shards


@dataclass(frozen=True)
class InputOptions:
    """How images become batches.

    Attributes:
        image_size: height and width in pixels.
        resize: see :func:`tfskin.inputs.decode.resize_image`.
        batch_size: images a batch; the last batch of a pass may hold fewer.
        classes: class -> diagnoses in it; other diagnoses are left out. None: each its own class.
        augment: random changes, in passes that have an epoch.
        seed: of order and random changes.
        shuffle_buffer: encoded images held for shuffling; from the size of the split on the
            shuffle is uniform.
        sampling: how often each class is shown in passes that have an epoch; see
            :func:`tfskin.inputs.sampling.class_quotas`.
        windows: windows that slide over each stored image, row by row, in place of the whole.
        parallel_calls: images decoded side by side; None: as many as tf.data finds best.
        share: the replicas of this process, where several train one model; ``batch_size`` is that
            of a replica.
    """

    image_size: tuple[int, int]
    resize: Resize = "squash"
    batch_size: int = 32
    classes: dict[str, list[str]] | None = None
    augment: AugmentConfig | None = None
    seed: int = 0
    shuffle_buffer: int = 16384
    sampling: Sampling = "none"
    windows: WindowConfig | None = None
    parallel_calls: int | None = None
    share: ReplicaShare = field(default_factory=ReplicaShare)


def make_dataset(
    shards: Shards,
    split: str,
    *,
    options: InputOptions,
    epoch: int | None = None,
    view: int | None = None,
    skip_batches: int = 0,
) -> tf.data.Dataset:
    """Batches ``(images, labels)`` of one pass over a split, of known cardinality.

    ``images`` is float32 (batch, height, width, 3) in 0..255, ``labels`` int32 (batch,), an index
    into :func:`tfskin.inputs.class_names`. Where images are mixed (``mixup`` or ``cutmix``, in
    passes that have an epoch), ``labels`` are float32 (batch, classes), a share of each class; an
    image's partner is the next one of its batch, so then the batch size matters.

    Where processes share a pass (``options.share``), only this one's images are given. With an
    epoch, consecutive batches are those of its replicas in one step (:func:`local_batches`), and
    ``skip_batches`` counts steps; without, they are its part of the rows (:func:`local_rows`).

    Args:
        shards: what ``load_shards`` gave.
        split: ``train``, ``val``, ``calibration`` or ``test``.
        options: see :class:`InputOptions`.
        epoch: None gives the order of :func:`tfskin.inputs.read_labels`, unchanged. A number gives
            an order and random changes that depend on ``(options.seed, epoch)`` and on each
            image's place in the files, and on nothing else: not on threads, on TensorFlow's
            global seed, or on the batch size. Copies of one image, and its windows, differ in
            their random changes.
        view: take the random changes of this epoch, whatever the order is.
        skip_batches: leave out so many batches at the start, before anything is decoded; what
            follows is the same as without.

    Raises:
        UserError: a diagnosis in ``options.classes`` that the shards do not have.
        tf.errors.OpError: when iterated over damaged shards;
            :func:`tfskin.inputs.find_damage` then says which image it is.

    Example:
        >>> from tfskin.inputs import InputOptions
        >>> shards = tfskin.load_shards("tfrecords/phantom")
        >>> options = InputOptions(image_size=(64, 64), batch_size=8)
        >>> images, labels = next(iter(tfskin.make_dataset(shards, "train", options=options)))
        >>> images.shape, labels.shape
        (TensorShape([8, 64, 64, 3]), TensorShape([8]))
    """
    repeats = _plan_repeats(shards, split, options, epoch)
    count = count_rows(shards, split, options=options, epoch=epoch)
    calls = options.parallel_calls or tf.data.AUTOTUNE
    records = read_images(shards, split, options.classes, repeats=repeats)
    if epoch is not None:
        records = shuffle_records(records, count, options=options, epoch=epoch)
    records, sizes = _skip_and_share(records, count, options, epoch, skip_batches)
    files = shards.files.get(split, [])
    likely_size = _first_size(files[0]) if files else options.image_size
    if options.windows is not None:
        likely_size = (options.windows.size, options.windows.size)
    changes = epoch if view is None else view
    load = _compile_load(
        options.image_size,
        options.resize,
        likely_size,
        options.augment if changes is not None else None,
        options.seed,
        options.windows,
    )
    now = tf.constant(changes or 0, tf.int64)
    batches = records.map(
        lambda *record: load(now, *record), num_parallel_calls=calls, deterministic=True
    )
    batches = batches.batch(options.batch_size)
    if options.share.replicas > 1:
        batches = batches.rebatch(sizes)
    if changes is not None and mixes(options.augment):
        classes = len(class_names(shards, options.classes))
        batches = batches.map(
            lambda images, labels, numbers: mix_batch(images, labels, numbers, num_classes=classes),
            num_parallel_calls=calls,
            deterministic=True,
        )
    batches = batches.apply(tf.data.experimental.assert_cardinality(len(sizes)))
    return batches.prefetch(tf.data.AUTOTUNE)


def _skip_and_share(
    records: tf.data.Dataset, count: int, options: InputOptions, epoch: int | None, steps: int
) -> tuple[tf.data.Dataset, np.ndarray]:
    """The records that are left and this process's, and the sizes of the batches of them."""
    share, size = options.share, options.batch_size
    if epoch is None and share.replicas > 1:
        start, stop = local_rows(count, share)
        records, count, share = records.skip(start).take(stop - start), stop - start, ReplicaShare()
    together = size * share.replicas
    batches = local_batches(count, size, share)
    records = records.skip(steps * together)
    if share.replicas > 1:
        records = take_local(records, batches, share=share, first=steps * together, step=together)
    return records, np.diff(batches[steps * share.local :]).ravel()


def count_rows(shards: Shards, split: str, *, options: InputOptions, epoch: int | None) -> int:
    """The number of images in a pass of :func:`make_dataset`.

    It is the same for every epoch, unless there is sampling and images of unequal size are cut
    into windows.
    """
    repeats = _plan_repeats(shards, split, options, epoch)
    return count_images(shards, split, options.classes) if repeats is None else int(repeats.sum())


def count_windows(shards: Shards, split: str, *, options: InputOptions) -> np.ndarray:
    """How many windows each image has, in the order of ``read_labels``: int64 (images,)."""
    labels, sides = read_places(shards, split, options.classes)
    return _windows_of(sides, options)[labels >= 0]


def _windows_of(sides: np.ndarray, options: InputOptions) -> np.ndarray:
    if options.windows is None:
        return np.ones(len(sides), np.int64)
    return count_along(sides, options.windows).prod(axis=1)


def _plan_repeats(
    shards: Shards, split: str, options: InputOptions, epoch: int | None
) -> np.ndarray | None:
    """How often each record of a split is given in a pass; None: those of a class, once."""
    sampling = "none" if epoch is None else options.sampling
    if sampling == "none" and options.windows is None:
        return None
    labels, sides = read_places(shards, split, options.classes)
    shown = sample_counts(labels, sampling, seed=options.seed, epoch=epoch or 0)
    return shown * _windows_of(sides, options)


@lru_cache(maxsize=32)
def _compile_load(
    image_size: tuple[int, int],
    resize: Resize,
    likely_size: tuple[int, int],
    augment: AugmentConfig | None,
    seed: int,
    windows: WindowConfig | None,
) -> Callable[..., tuple[tf.Tensor, ...]]:
    """``(epoch, place, copy, encoded, label) -> (image, label)``, traced once for all epochs.

    Where images are mixed, ``(image, label, numbers)`` with :func:`draw_mix`'s numbers. Tracing
    takes a third of a second, in which a fast pipeline reads hundreds of images.
    """
    to_size = make_resize(image_size, resize, likely_size=likely_size)

    def load(
        epoch: tf.Tensor, place: tf.Tensor, copy: tf.Tensor, encoded: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        image = decode_image(encoded)
        image = image if windows is None else cut_window(image, copy, windows)
        if augment is not None and augment.crop:
            crop = make_crop(augment, image_size=image_size, resize=resize, seed=seed, epoch=epoch)
            image = crop(image, place)
        else:
            image = to_size(image)
        if augment is not None:
            image = make_augment(augment, image_size=image_size, seed=seed, epoch=epoch)(
                image, place
            )
            if mixes(augment):
                return image, label, draw_mix(augment, seed=seed, epoch=epoch, index=place)
        return image, label

    scalar = tf.TensorSpec([], tf.int64)
    signature = [scalar] * 3 + [tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32)]
    return tf.function(load, input_signature=signature)


@lru_cache(maxsize=64)
def _first_size(file: str) -> tuple[int, int]:
    """Height and width of the first image of a shard file: in many data sets that of all.

    Kept for the next epoch; where it is wrong, batches come later, not otherwise.
    """
    features = {"image": tf.io.FixedLenFeature([], tf.string)}
    try:
        for record in tf.data.TFRecordDataset(file).take(1):
            encoded = tf.io.parse_single_example(record, features)["image"]
            height, width, _ = decode_image(encoded).shape
            return height, width
    except tf.errors.OpError:
        pass  # damaged: the pass itself will raise it
    return 1, 1


def shuffle_records(
    records: tf.data.Dataset, count: int, *, options: InputOptions, epoch: int
) -> tf.data.Dataset:
    """``count`` records in an order that depends on ``(options.seed, epoch)`` alone.

    ``Dataset.shuffle`` mixes TensorFlow's global seed into its own, so the op is called directly.
    """
    spec = records.element_spec
    parts = tf.nest.flatten(spec)
    shuffled = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(records),
        buffer_size=min(options.shuffle_buffer, max(count, 1)),
        # The op takes (0, 0) for "choose at random".
        seed=options.seed + 1,
        seed2=epoch,
        output_types=[part.dtype for part in parts],
        output_shapes=[part.shape for part in parts],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(shuffled, spec)
