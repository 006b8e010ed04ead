"""A config -> the stages in which its network is trained, each with its data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras

from tfskin.datasets.shards import Shards
from tfskin.errors import UserError, nearest_hint
from tfskin.experiment.fitting.data import at_progress, fit_data
from tfskin.experiment.fitting.features import check_views, few_views, kept_features
from tfskin.experiment.fitting.network import plan_progress, uses_jit
from tfskin.schema import ExperimentConfig, StageConfig, TrainConfig
from tfskin.training.fit import FitData, compile_model
from tfskin.training.layerwise import depth_rates
from tfskin.training.losses import build_loss
from tfskin.training.optimizers import build_optimizer
from tfskin.training.precision import choose_precision, dtype_policy
from tfskin.training.progressive import Later, Progress, split_epochs
from tfskin.training.replicas import ALONE, Replicas
from tfskin.training.schedules import make_schedule
from tfskin.training.stages import Stage
from tfskin.training.updates import average_statistics


@dataclass(frozen=True)
class TrainingData:
    """What the stages of a config train on.

    Attributes:
        config: of the experiment.
        shards: its images.
        names: index -> class.
        folder: of the run, in which features are kept.
        distribution: the replicas, of which this process reads for its own.
    """

    config: ExperimentConfig
    shards: Shards
    names: list[str]
    folder: Path
    distribution: Replicas = ALONE

    @cached_property
    def images(self) -> FitData:
        """Whole images, with other random changes in each epoch."""
        return fit_data(self.config, self.shards, self.names, self.distribution)

    def at(self, progress: Progress) -> FitData:
        """Images of a progressive stage's size and random changes of its strength."""
        config = at_progress(self.config, progress)
        return fit_data(config, self.shards, self.names, self.distribution)

    def views(self) -> FitData:
        """Few views of each image, computed anew in each epoch."""
        return few_views(self.images, self.config, self.shards)

    def features(self, backbone: keras.Model) -> FitData:
        """The backbone's features of few views of each image, kept on disk."""
        return kept_features(self.images, self.config, self.shards, self.folder, backbone)


def plan_stages(config: ExperimentConfig, data: TrainingData) -> list[Stage]:
    """The stages of a config; one in which everything trains where it names none.

    A key that a stage leaves out is that of ``train`` (``model`` for ``batch_norm``).
    """
    train, replicas = config.train, data.distribution.replicas
    steps = data.images.steps_per_epoch
    check_views(config)
    whole = StageConfig(unfreeze="all", epochs=train.epochs)
    if train.progressive.stages == 1:
        return [
            _plan_stage(config, data, stage, _schedule(train, stage, steps, replicas))
            for stage in train.stages or (whole,)
        ]
    schedule, done, planned = _schedule(train, whole, steps, replicas), 0, []
    updates = -(-steps // train.accumulate)
    parts = split_epochs(train.epochs, train.progressive.stages)
    for epochs, progress in zip(parts, plan_progress(config), strict=True):
        stage = StageConfig(unfreeze="all", epochs=epochs)
        later = Later(schedule, done * updates)
        planned.append(_plan_stage(config, data, stage, later, progress))
        done += epochs
    return planned


def _plan_stage(
    config: ExperimentConfig,
    data: TrainingData,
    stage: StageConfig,
    schedule: keras.optimizers.schedules.LearningRateSchedule,
    progress: Progress | None = None,
) -> Stage:
    train, distribution = config.train, data.distribution
    images = data.images
    loss = _loss(train, images.class_counts)

    def compile_stage(model: keras.Model) -> None:
        with distribution.scope():
            optimizer = build_optimizer(
                train.optimizer,
                learning_rate=schedule,
                weight_decay=train.weight_decay,
                momentum=train.momentum,
                nesterov=train.nesterov,
                rates=depth_rates(model, stage.depth_decay) if stage.depth_decay < 1 else None,
                clip_norm=train.clip_norm,
                accumulate=train.accumulate,
                batches_per_epoch=images.steps_per_epoch,
                last_batch=_last_batch(train.batch_size * distribution.replicas, images),
                ema=train.ema,
            )
        if train.ema:
            average_statistics(optimizer, model)
        with dtype_policy(choose_precision(train.precision)[0]):
            compile_model(model, optimizer, loss=loss, jit_compile=uses_jit(config))
        distribution.adopt(model)

    seen: FitData | Callable[[keras.Model], FitData] = images
    views = train.feature_views and stage.unfreeze == "head"
    if progress is not None:
        seen = data.at(progress)
    elif views:
        seen = data.features if train.feature_cache == "on" else data.views()
    modes = stage.batch_norm or config.model.batch_norm
    return Stage(
        epochs=stage.epochs,
        compile=compile_stage,
        data=seen,
        unfreeze=stage.unfreeze,
        batch_norm={"backbone": modes.backbone, "head": modes.head},
        progress=progress,
        few_views=bool(views) and train.feature_cache == "off",
    )


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
        options=train.loss_options,
        focal_gamma=train.focal_gamma,
        effective_beta=train.effective_beta,
        logit_tau=train.logit_tau,
    )


def _last_batch(batch_size: int, images: FitData) -> float:
    """Images of an epoch's last batch as a fraction of a batch."""
    left = sum(images.class_counts.values()) - (images.steps_per_epoch - 1) * batch_size
    return left / batch_size if 0 < left < batch_size else 1.0
