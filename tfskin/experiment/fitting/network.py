"""A config -> its network, and the stages in which it is trained."""

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import keras

from tfskin.errors import UserError, nearest_hint
from tfskin.models import build_model, load_weights
from tfskin.models.auxiliary import WithAuxiliaries
from tfskin.schema import (
    RANDOM_CHANGES,
    ExperimentConfig,
    ModelConfig,
    StageConfig,
    TrainConfig,
)
from tfskin.training.features import check_head
from tfskin.training.fit import compile_model
from tfskin.training.layerwise import depth_rates
from tfskin.training.losses import build_loss
from tfskin.training.optimizers import build_optimizer
from tfskin.training.precision import choose_precision, dtype_policy, has_gpu
from tfskin.training.progressive import (
    Later,
    Progress,
    at_size,
    list_progress,
    split_epochs,
)
from tfskin.training.recalibration import batch_norm_layers
from tfskin.training.schedules import make_schedule
from tfskin.training.stages import Stage, prepare_stage, unfreeze
from tfskin.training.updates import average_statistics

if TYPE_CHECKING:
    from tfskin.training.distribution import Distribution

logger = logging.getLogger(__name__)


def build_compiled(
    config: ExperimentConfig,
    *,
    num_classes: int,
    steps_per_epoch: int,
    class_counts: Mapping[str, int] | None = None,
    distribution: "Distribution | None" = None,
) -> tuple[keras.Model, dict[str, Any]]:
    """The network of a config, ready for its first stage; and its precision.

    Its weights are fresh: :func:`start_weights` puts others in. ``class_counts`` are the images of
    each class in an epoch; equally many unless given. ``distribution`` are the replicas that it
    trains on.
    """
    policy, reason = choose_precision(config.train.precision)
    logger.info(f"precision {policy} ({reason})")
    keras.utils.set_random_seed(config.seed)
    with dtype_policy(policy), _scope(distribution):
        model = build_model(
            config.model.name,
            image_size=config.model.image_size,
            num_classes=num_classes,
            **model_arguments(config.model),
        )
    counts = class_counts or dict.fromkeys(map(str, range(num_classes)), config.train.batch_size)
    stages = plan_stages(
        config, steps_per_epoch=steps_per_epoch, class_counts=counts, distribution=distribution
    )
    for stage in stages:
        unfreeze(model, stage.unfreeze)  # a layer that is not there is said before anything trains
    _check_norms(config, model)
    keeps = config.train.feature_views and config.train.feature_cache == "on"
    if keeps and any(stage.unfreeze == "head" for stage in stages):
        check_head(model)
    _check_size(config, model, stages[0])
    prepare_stage(model, stages[0])
    facts = {"precision": policy, "precision_reason": reason, "jit_compile": _jit(config)}
    if distribution is not None:
        facts |= {"distribution": str(distribution), "replicas": distribution.replicas}
    return model, facts


def _check_norms(config: ExperimentConfig, model: keras.Model) -> None:
    """Refuse modes of batch normalisations that are not there."""
    if batch_norm_layers(model):
        return
    for number, stage in enumerate(config.train.stages, start=1):
        if stage.batch_norm is not None:
            raise UserError(
                f"train.stages: stage {number} sets batch_norm, and {config.model.name} has none; "
                "leave it out, or set model.use_bn=true"
            )


def _check_size(config: ExperimentConfig, model: keras.Model, stage: Stage) -> None:
    """Say that the first stage's images are too small for the network, or no size of its own."""
    if stage.progress is None:
        return
    size, arguments = stage.progress.size, model_arguments(config.model)
    try:
        build_model(config.model.name, image_size=size, num_classes=2, **arguments)
    except UserError as error:
        raise UserError(f"train.progressive.size: {error}") from None
    try:
        at_size(model, size)
    except ValueError:
        mend = "model.aux_weight=0" if isinstance(model, WithAuxiliaries) else "another network"
        raise UserError(
            f"train.progressive: {config.model.name} has dense layers that fit one image size "
            f"only, so its images can't begin at {size[0]} x {size[1]} px; choose {mend}"
        ) from None


def start_weights(model: keras.Model, config: ModelConfig) -> dict[str, Any]:
    """Put the config's weights into a model; what of them matched, for ``environment.json``."""
    if config.weights is None:
        return {}
    report = load_weights(model, config.weights, name=config.name)
    logger.info(str(report))
    return {"weights": vars(report)}


def plan_stages(
    config: ExperimentConfig,
    *,
    steps_per_epoch: int,
    class_counts: Mapping[str, int],
    distribution: "Distribution | None" = None,
) -> list[Stage]:
    """The stages of a config; one in which everything trains where it names none.

    A key that a stage leaves out is that of ``train`` (``model`` for ``batch_norm``).
    ``class_counts`` are the images of each class in an epoch, in the order of the logits.
    """
    train = config.train
    replicas = 1 if distribution is None else distribution.replicas
    loss = _loss(train, class_counts)

    def plan(
        stage: StageConfig,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        progress: Progress | None = None,
    ) -> Stage:

        def compile_stage(model: keras.Model) -> None:
            with _scope(distribution):
                optimizer = build_optimizer(
                    train.optimizer,
                    learning_rate=schedule,
                    weight_decay=train.weight_decay,
                    momentum=train.momentum,
                    nesterov=train.nesterov,
                    rates=depth_rates(model, stage.depth_decay) if stage.depth_decay < 1 else None,
                    clip_norm=train.clip_norm,
                    accumulate=train.accumulate,
                    batches_per_epoch=steps_per_epoch,
                    last_batch=_last_batch(
                        train.batch_size * replicas, steps_per_epoch, class_counts
                    ),
                    ema=train.ema,
                )
            if train.ema:
                average_statistics(optimizer, model)
            with dtype_policy(choose_precision(train.precision)[0]):
                compile_model(model, optimizer, loss=loss, jit_compile=_jit(config))
            if distribution is not None:
                distribution.adopt(model)

        modes = stage.batch_norm or config.model.batch_norm
        return Stage(
            epochs=stage.epochs,
            compile=compile_stage,
            unfreeze=stage.unfreeze,
            batch_norm={"backbone": modes.backbone, "head": modes.head},
            progress=progress,
        )

    whole = StageConfig(unfreeze="all", epochs=train.epochs)
    if train.progressive.stages == 1:
        stages = train.stages or (whole,)
        return [plan(stage, _schedule(train, stage, steps_per_epoch, replicas)) for stage in stages]
    schedule, done, planned = _schedule(train, whole, steps_per_epoch, replicas), 0, []
    updates = -(-steps_per_epoch // train.accumulate)
    parts = split_epochs(train.epochs, train.progressive.stages)
    for epochs, progress in zip(parts, _progress(config), strict=True):
        stage = StageConfig(unfreeze="all", epochs=epochs)
        planned.append(plan(stage, Later(schedule, done * updates), progress))
        done += epochs
    return planned


def _progress(config: ExperimentConfig) -> list[Progress]:
    values = config.train.progressive.model_dump()
    return list_progress(image_size=config.model.image_size, **values)


def at_progress(config: ExperimentConfig, progress: Progress) -> ExperimentConfig:
    """The config with the images and the random changes of a stage."""
    augment = config.data.augment
    strengths = {
        name: getattr(augment, name) * progress.strength
        for name in ("rand_magnitude", "mixup", "cutmix", "erasing", *RANDOM_CHANGES)
    }
    changed = config.data.model_copy(update={"augment": augment.model_copy(update=strengths)})
    model = config.model.model_copy(update={"image_size": progress.size})
    return config.model_copy(update={"data": changed, "model": model})


def _schedule(
    train: TrainConfig, stage: StageConfig, steps_per_epoch: int, replicas: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    factor = {"none": 1.0, "linear": float(replicas), "sqrt": float(replicas**0.5)}
    rate = stage.learning_rate or train.learning_rate
    return make_schedule(
        stage.schedule or train.schedule,
        learning_rate=rate * factor[train.scale_learning_rate],
        steps_per_epoch=-(-steps_per_epoch // train.accumulate),
        epochs=stage.epochs,
        warmup_epochs=(train.warmup_epochs if stage.warmup_epochs is None else stage.warmup_epochs),
        decay_rate=train.decay_rate,
        final_fraction=train.final_fraction,
        step_epochs=train.step_epochs,
        step_factor=train.step_factor,
        rise=train.rise,
    )


def _loss(train: TrainConfig, class_counts: Mapping[str, int]) -> keras.losses.Loss:
    if isinstance(train.class_weights, dict):
        for name in train.class_weights:
            if name not in class_counts:
                raise UserError(
                    f"train.class_weights: no class '{name}'"
                    f"{nearest_hint(name, list(class_counts))}; "
                    f"classes: {', '.join(class_counts)}"
                )
    return build_loss(
        train.loss,
        counts=class_counts,
        label_smoothing=train.label_smoothing,
        class_weights=train.class_weights,
        focal_gamma=train.focal_gamma,
        effective_beta=train.effective_beta,
        logit_tau=train.logit_tau,
    )


def _scope(distribution: "Distribution | None") -> Any:
    """Where variables are made that every replica has a copy of."""
    return nullcontext() if distribution is None else distribution.scope()


def _last_batch(batch_size: int, steps_per_epoch: int, class_counts: Mapping[str, int]) -> float:
    """Images of an epoch's last batch as a fraction of a batch."""
    left = sum(class_counts.values()) - (steps_per_epoch - 1) * batch_size
    return left / batch_size if 0 < left < batch_size else 1.0


def model_arguments(config: ModelConfig) -> dict[str, Any]:
    """The builder's arguments that the config sets; the others keep the builder's defaults."""
    common = {"name", "image_size", "resize", "weights"}
    values = config.model_dump(exclude=common)
    return {name: value for name, value in values.items() if value is not None}


def _jit(config: ExperimentConfig) -> bool:
    wish = config.train.jit_compile
    alone = config.train.distribution == "none"
    return wish == "on" or (wish == "auto" and alone and has_gpu())
