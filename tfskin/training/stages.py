"""Fine-tuning in stages: what trains, with which batch normalisation, at which rates."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import keras

from tfskin.errors import UserError, nearest_hint
from tfskin.layers.batch_norm import BatchNormMode, set_batch_norm_mode
from tfskin.layers.parts import Part, head_layers, leaf_layers, part_of
from tfskin.training.checkpoints import FitState, read_checkpoint
from tfskin.training.features import split_head
from tfskin.training.fit import FitData, FitOptions, fit
from tfskin.training.progressive import Progress, at_size, dropout_rates, set_rates

logger = logging.getLogger(__name__)

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
) -> FitState:
    """Train stage after stage and return how it went; see :func:`tfskin.training.fit.fit`.

    Each stage goes on from the last weights of the one before, with a fresh optimizer; patience
    ends a stage, not the fit. The best epoch is that of all stages together, or of those on
    images of the last size: scores at other sizes are not the kept network's. A stopped fit goes
    on within its stage.

    Args:
        model: a network; it is compiled anew for each stage.
        data: batches; the epoch's number runs on through the stages.
        stages: at least one.
        options: as for a single fit; ``epochs`` is not used.
    """
    checkpoint = read_checkpoint(options.checkpoints)
    state = checkpoint.state if checkpoint else FitState()
    rates = dropout_rates(model)
    for number in range(state.stage, len(stages)):
        stage = stages[number]
        set_rates(rates, 1.0)
        line = prepare_stage(model, stage)
        logger.info(f"stage {number + 1} of {len(stages)}: {line}" if len(stages) > 1 else line)
        backbone, head = None, model
        if stage.unfreeze == "head" and data.from_backbone is not None:
            backbone, head = split_head(model)
            stage.compile(head)
        if stage.progress is not None:
            head = at_stage(model, stage, rates)
            logger.info(_describe(stage.progress))
        if number > state.stage:
            state.stage, state.stage_epoch = number, 0
            before = stages[number - 1].progress
            if stage.progress and before and stage.progress.size != before.size:
                state.best_score, state.best_epoch = float("-inf"), -1
        elif checkpoint:
            checkpoint.restore(head, whole=model)
            logger.info(f"going on after {state}")
        later = sum(stage.epochs for stage in stages[number + 1 :])
        stage_options = replace(options, epochs=stage.epochs, later_epochs=later)
        if backbone is None:
            of_stage = data
            if stage.unfreeze == "head" and data.of_views is not None:
                of_stage = data.of_views
                set_rates(_of_backbone(rates, model), 0.0)
            if stage.progress is not None and data.at is not None:
                of_stage = data.at(stage.progress)
            whole = None if head is model else model
            state = fit(head, of_stage, options=stage_options, state=state, whole=whole)
            continue
        stage_options = replace(stage_options, save_seconds=SAVE_SECONDS)
        assert data.from_backbone is not None
        _of_backbone(rates, model)  # it runs in inference mode
        state = fit(
            head,
            data.from_backbone(backbone),
            options=stage_options,
            state=state,
            whole=model,
        )
    return state


def at_stage(
    model: keras.Model, stage: Stage, rates: list[tuple[keras.layers.Layer, float]]
) -> keras.Model:
    """A compiled network of the same layers for the images of a progressive stage.

    ``rates`` are those of :func:`tfskin.training.progressive.dropout_rates`; a stage without
    progress has ``model`` itself.
    """
    if stage.progress is None:
        return model
    set_rates(rates, stage.progress.dropout)
    small = at_size(model, stage.progress.size)
    stage.compile(small)
    return small


def _of_backbone(
    rates: list[tuple[keras.layers.Layer, float]],
    model: keras.Model,
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
