"""A config -> its network, and the stages in which it is trained."""

from collections.abc import Callable
from typing import Any

import keras

from tfskin.models import build_model, load_weights
from tfskin.schema import ExperimentConfig, ModelConfig, StageConfig
from tfskin.training.fit import compile_model
from tfskin.training.layerwise import depth_rates
from tfskin.training.optimizers import build_optimizer
from tfskin.training.precision import choose_precision, dtype_policy, has_gpu
from tfskin.training.schedules import make_schedule
from tfskin.training.stages import Stage, prepare_stage, unfreeze


def build_compiled(
    config: ExperimentConfig,
    *,
    num_classes: int,
    steps_per_epoch: int,
    say: Callable[[str], None],
) -> tuple[keras.Model, dict[str, Any]]:
    """The network of a config, ready for its first stage; and its precision.

    Its weights are fresh: :func:`start_weights` puts others in.
    """
    policy, reason = choose_precision(config.train.precision)
    say(f"precision {policy} ({reason})")
    keras.utils.set_random_seed(config.seed)
    with dtype_policy(policy):
        model = build_model(
            config.model.name,
            image_size=config.model.image_size,
            num_classes=num_classes,
            **model_arguments(config.model),
        )
    stages = plan_stages(config, steps_per_epoch=steps_per_epoch)
    for stage in stages:
        unfreeze(model, stage.unfreeze)  # a layer that is not there is said before anything trains
    prepare_stage(model, stages[0])
    facts = {"precision": policy, "precision_reason": reason, "jit_compile": _jit(config)}
    return model, facts


def start_weights(
    model: keras.Model, config: ModelConfig, *, say: Callable[[str], None]
) -> dict[str, Any]:
    """Put the config's weights into a model; what of them matched, for ``environment.json``."""
    if config.weights is None:
        return {}
    report = load_weights(model, config.weights, name=config.name)
    say(str(report))
    return {"weights": vars(report)}


def plan_stages(config: ExperimentConfig, *, steps_per_epoch: int) -> list[Stage]:
    """The stages of a config; one in which everything trains where it names none.

    A key that a stage leaves out is that of ``train`` (``model`` for ``batch_norm``).
    """
    train = config.train
    stages = train.stages or (StageConfig(unfreeze="all", epochs=train.epochs),)

    def plan(stage: StageConfig) -> Stage:
        warmup = train.warmup_epochs if stage.warmup_epochs is None else stage.warmup_epochs
        schedule = make_schedule(
            stage.schedule or train.schedule,
            learning_rate=stage.learning_rate or train.learning_rate,
            steps_per_epoch=steps_per_epoch,
            epochs=stage.epochs,
            warmup_epochs=warmup,
            decay_rate=train.decay_rate,
            final_fraction=train.final_fraction,
        )

        def compile_stage(model: keras.Model) -> None:
            optimizer = build_optimizer(
                train.optimizer,
                learning_rate=schedule,
                weight_decay=train.weight_decay,
                momentum=train.momentum,
                nesterov=train.nesterov,
                rates=depth_rates(model, stage.depth_decay) if stage.depth_decay < 1 else None,
            )
            with dtype_policy(choose_precision(train.precision)[0]):
                compile_model(
                    model,
                    optimizer,
                    label_smoothing=train.label_smoothing,
                    jit_compile=_jit(config),
                )

        modes = stage.batch_norm or config.model.batch_norm
        return Stage(
            epochs=stage.epochs,
            compile=compile_stage,
            unfreeze=stage.unfreeze,
            batch_norm={"backbone": modes.backbone, "head": modes.head},
        )

    return [plan(stage) for stage in stages]


def model_arguments(config: ModelConfig) -> dict[str, Any]:
    """The builder's arguments that the config sets; the others keep the builder's defaults."""
    common = {"name", "image_size", "resize", "weights"}
    values = config.model_dump(exclude=common)
    return {name: value for name, value in values.items() if value is not None}


def _jit(config: ExperimentConfig) -> bool:
    wish = config.train.jit_compile
    return wish == "on" or (wish == "auto" and has_gpu())
