"""Fine-tuning in stages: what trains, with which batch normalisation, at which rates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import keras

from tfskin.errors import UserError, nearest_hint
from tfskin.layers.batch_norm import BatchNormMode, set_batch_norm_mode
from tfskin.layers.parts import Part, head_layers, leaf_layers, part_of
from tfskin.training.checkpoints import FitState, read_checkpoint
from tfskin.training.features import random_layers, split_head
from tfskin.training.fit import FitData, FitOptions, fit
from tfskin.training.progressive import Progress, at_size, dropout_rates

SAVE_SECONDS = 30.0
"""A head on kept features has epochs of a second: what they wrote would take longer than they."""


@dataclass(frozen=True)
class Stage:
    """One stage of a fit.

    Attributes:
        epochs: how many.
        unfreeze: ``all``; ``head``; or a layer from which on everything trains.
        batch_norm: the mode of each part's batch normalisations.
        compile: compiles the model, with a fresh optimizer, after the above is set.
        progress: size of the images and strength of the regularisation, where they change.
    """

    epochs: int
    compile: Callable[[keras.Model], None]
    unfreeze: str = "all"
    batch_norm: dict[Part, BatchNormMode] = field(default_factory=dict)
    progress: Progress | None = None


def prepare_stage(model: keras.Model, stage: Stage) -> str:
    """Freeze, set the modes and compile; returns one line that says what trains.

    Raises:
        UserError: ``unfreeze`` names no layer.
    """
    unfreeze(model, stage.unfreeze)
    for part, mode in stage.batch_norm.items():
        set_batch_norm_mode(model, mode, part=part)
    stage.compile(model)
    return f"{stage.unfreeze} trains; {describe_batch_norm(model)}"


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


def fit_stages(
    model: keras.Model,
    data: FitData,
    stages: Sequence[Stage],
    *,
    options: FitOptions,
    say: Callable[[str], None] = print,
) -> FitState:
    """Train stage after stage and return how it went; see :func:`tfskin.training.fit.fit`.

    Each stage goes on from the last weights of the one before, with a fresh optimizer; patience
    ends a stage, not the fit. The best epoch is that of all stages together. A stopped fit goes
    on within its stage.

    Args:
        model: a network; it is compiled anew for each stage.
        data: batches; the epoch's number runs on through the stages.
        stages: at least one.
        options: as for a single fit; ``epochs`` is not used.
        say: where a line of news goes.
    """
    checkpoint = read_checkpoint(options.checkpoints, say=say)
    state = checkpoint.state if checkpoint else FitState()
    rates = dropout_rates(model)
    for number in range(state.stage, len(stages)):
        stage = stages[number]
        line = prepare_stage(model, stage)
        say(f"stage {number + 1} of {len(stages)}: {line}" if len(stages) > 1 else line)
        backbone, head = None, model
        if stage.unfreeze == "head" and data.from_backbone is not None:
            backbone, head = split_head(model)
            stage.compile(head)
        if stage.progress is not None:
            head = _small(model, stage.progress, rates)
            stage.compile(head)
            say(_describe(stage.progress))
        if number > state.stage:
            state.stage, state.stage_epoch = number, 0
        elif checkpoint:
            checkpoint.restore(head, whole=model)
            say(f"going on after {state}")
        later = sum(stage.epochs for stage in stages[number + 1 :])
        stage_options = replace(options, epochs=stage.epochs, later_epochs=later)
        if backbone is None:
            of_stage = data.of_views if stage.unfreeze == "head" and data.of_views else data
            if stage.progress is not None and data.at is not None:
                of_stage = data.at(stage.progress)
            whole = None if head is model else model
            state = fit(head, of_stage, options=stage_options, state=state, whole=whole, say=say)
            continue
        stage_options = replace(stage_options, save_seconds=SAVE_SECONDS)
        features = _features(backbone, data, say)
        state = fit(head, features, options=stage_options, state=state, whole=model, say=say)
    return state


def _small(
    model: keras.Model, progress: Progress, rates: list[tuple[keras.layers.Layer, float]]
) -> keras.Model:
    """The same layers for images of the stage's size, with its dropout."""
    for layer, rate in rates:
        layer.rate = rate * progress.dropout
    return at_size(model, progress.size)


def _describe(progress: Progress) -> str:
    height, width = progress.size
    return (
        f"images of {height} x {width} px, dropout x {progress.dropout:.2f}, "
        f"random changes x {progress.strength:.2f}"
    )


def _features(backbone: keras.Model, data: FitData, say: Callable[[str], None]) -> FitData:
    assert data.from_backbone is not None
    dropping = random_layers(backbone)
    if dropping:
        say(f"the frozen backbone drops nothing ({len(dropping)} layers, such as {dropping[0]})")
    return data.from_backbone(backbone)
