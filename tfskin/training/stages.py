"""Fine-tuning in stages: what trains, on which data, with which batch normalisation and rates."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import keras

from tfskin.errors import UserError, nearest_hint
from tfskin.layers.batch_norm import BatchNormMode, set_batch_norm_mode
from tfskin.layers.parts import Part, head_layers, leaf_layers, part_of
from tfskin.training.checkpoints import Checkpoint, FitState
from tfskin.training.features import split_head
from tfskin.training.fit import FitData, FitTask
from tfskin.training.progressive import Progress, at_size, dropout_rates, set_rates

logger = logging.getLogger(__name__)

SAVE_SECONDS = 30.0
"""A head on kept features has epochs of a second: what they wrote would take longer than they."""


@dataclass(frozen=True)
class Stage:
    """One stage of a training.

    Attributes:
        epochs: how many.
        compile: compiles the model, with a fresh optimizer, once what trains is set.
        data: its batches of images; or a function of the frozen backbone that returns batches of
            its features, on which the head is trained alone.
        unfreeze: ``all``; ``head``; or a layer from which on everything trains.
        batch_norm: the mode of each part's batch normalisations.
        progress: size of the images and strength of the regularisation, where they change.
        few_views: the data show few random views of each image, so the frozen backbone has to do
            without its dropout.
    """

    epochs: int
    compile: Callable[[keras.Model], None]
    data: FitData | Callable[[keras.Model], FitData]
    unfreeze: str = "all"
    batch_norm: dict[Part, BatchNormMode] = field(default_factory=dict)
    progress: Progress | None = None
    few_views: bool = False


def list_tasks(
    model: keras.Model,
    stages: Sequence[Stage],
    state: FitState,
    checkpoint: Checkpoint | None = None,
) -> Iterator[FitTask]:
    """What each stage fits, one after the other; fit each before the next is asked for.

    Each goes on from the last weights of the one before, with a fresh optimizer; patience ends a
    stage, not the training. The best epoch is that of all stages together, or of those on images
    of the last size: scores at other sizes are not the kept network's.

    Args:
        model: the network that is kept; it is compiled anew for each stage.
        stages: at least one.
        state: how far the training has come; the stage's number is kept up to date in it.
        checkpoint: that of ``state``, where a training goes on within its stage.
    """
    rates = dropout_rates(model)
    for number in range(state.stage, len(stages)):
        stage = stages[number]
        backbone, network = begin_stage(model, stage, rates)
        line = f"{stage.unfreeze} trains; {describe_batch_norm(model)}"
        logger.info(f"stage {number + 1} of {len(stages)}: {line}" if len(stages) > 1 else line)
        if stage.progress is not None:
            logger.info(_describe(stage.progress))
        if number > state.stage:
            state.stage, state.stage_epoch = number, 0
            before = stages[number - 1].progress
            if stage.progress and before and stage.progress.size != before.size:
                state.best_score, state.best_epoch = float("-inf"), -1
        elif checkpoint:
            checkpoint.restore(network, whole=model)
        if stage.few_views:
            set_rates(_backbone_rates(model, rates), 0.0)
        elif backbone is not None:
            _backbone_rates(model, rates)  # it runs in inference mode
        yield FitTask(
            network,
            # Features are those of the weights that the checkpoint held.
            stage.data if isinstance(stage.data, FitData) else stage.data(backbone),
            stage.epochs,
            whole=None if network is model else model,
            save_seconds=0.0 if backbone is None else SAVE_SECONDS,
            later_epochs=sum(later.epochs for later in stages[number + 1 :]),
        )


def begin_stage(
    model: keras.Model, stage: Stage, rates: Sequence[tuple[keras.layers.Layer, float]]
) -> tuple[keras.Model | None, keras.Model]:
    """Freeze, set the modes and compile; ``(frozen backbone, what is fitted)``.

    What is fitted is ``model`` itself; its head, where the stage trains on the features of its
    backbone (else the backbone is none); or a network of the same layers for a progressive
    stage's images. ``rates`` are those of :func:`tfskin.training.progressive.dropout_rates`.

    Raises:
        UserError: ``unfreeze`` names no layer.
    """
    set_rates(rates, 1.0 if stage.progress is None else stage.progress.dropout)
    unfreeze(model, stage.unfreeze)
    for part, mode in stage.batch_norm.items():
        set_batch_norm_mode(model, mode, part=part)
    stage.compile(model)
    if not isinstance(stage.data, FitData):
        backbone, head = split_head(model)
        stage.compile(head)
        return backbone, head
    if stage.progress is None:
        return None, model
    small = at_size(model, stage.progress.size)
    stage.compile(small)
    return None, small


def unfreeze(model: keras.Model, first: str) -> None:
    """Let a part of ``model`` train and freeze the rest.

    Args:
        model: a network.
        first: ``all``; ``head`` (everything from layer ``pool`` on, and auxiliary heads); or the
            name of a layer, or the beginning of its name before a ``_`` (``layer4``,
            ``inception_5a``): it and all layers behind it in the graph train.

    Raises:
        UserError: no such layer.
    """
    layers = leaf_layers(model)
    head = {id(layer) for layer in head_layers(model)}
    if first == "all":
        begin = 0
    elif first == "head":
        begin = len(layers)
    else:
        names = [layer.name for layer in layers]
        found = [i for i, n in enumerate(names) if n == first or n.startswith(f"{first}_")]
        if not found:
            raise UserError(
                f"train.stages: unfreeze: '{first}' is no layer of {model.name}"
                f"{nearest_hint(first, names)}; or write head or all"
            )
        begin = found[0]
    for number, layer in enumerate(layers):
        layer.trainable = number >= begin or id(layer) in head


def describe_batch_norm(model: keras.Model) -> str:
    """``batch norm: backbone 94 frozen; head 1 update``: how many layers of each part do what.

    A layer that may not train counts as frozen, whatever its mode.
    """
    counts: dict[str, dict[str, int]] = {"backbone": {}, "head": {}}
    parts = part_of(model)
    for layer in leaf_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            mode = getattr(layer, "mode", "update") if layer.trainable else "frozen"
            of_part = counts[parts[id(layer)]]
            of_part[mode] = of_part.get(mode, 0) + 1
    texts = [
        f"{part} {', '.join(f'{count} {mode}' for mode, count in modes.items())}"
        for part, modes in counts.items()
        if modes
    ]
    return f"batch norm: {'; '.join(texts) or 'none'}"


def _backbone_rates(
    model: keras.Model, rates: Sequence[tuple[keras.layers.Layer, float]]
) -> list[tuple[keras.layers.Layer, float]]:
    """The dropout of a frozen backbone, which few views of an image have to do without."""
    parts = part_of(model)
    found = [(layer, rate) for layer, rate in rates if parts[id(layer)] == "backbone" and rate]
    if found:
        name = found[0][0].name
        logger.info(f"the frozen backbone drops nothing ({len(found)} layers, such as {name})")
    return found


def _describe(progress: Progress) -> str:
    height, width = progress.size
    return (
        f"images of {height} x {width} px, dropout x {progress.dropout:.2f}, "
        f"random changes x {progress.strength:.2f}"
    )
