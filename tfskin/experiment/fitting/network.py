"""A config -> its network, and the weights that it begins with."""

import logging
from typing import Any

import keras

from tfskin.errors import UserError
from tfskin.extensions import LOSS, NETWORK, load_part, part_module
from tfskin.models import MODELS, build_model, load_weights
from tfskin.models.auxiliary import WithAuxiliaries
from tfskin.schema import ExperimentConfig, ModelConfig
from tfskin.training.features import check_head
from tfskin.training.losses import LOSSES
from tfskin.training.precision import choose_precision, dtype_policy, has_gpu
from tfskin.training.progressive import Progress, at_size, list_progress
from tfskin.training.recalibration import batch_norm_layers
from tfskin.training.replicas import ALONE, Replicas
from tfskin.training.stages import unfreeze

logger = logging.getLogger(__name__)


def build_network(
    config: ExperimentConfig, *, num_classes: int, distribution: Replicas = ALONE
) -> tuple[keras.Model, dict[str, Any]]:
    """The network of a config, not compiled; and its precision, for ``environment.json``.

    Its weights are fresh: :func:`start_weights` puts others in. ``distribution`` are the replicas
    that it trains on.

    Raises:
        UserError: a key under ``model`` that does not fit the network, or stages that don't.
    """
    policy, reason = choose_precision(config.train.precision)
    logger.info(f"precision {policy} ({reason})")
    keras.utils.set_random_seed(config.seed)
    with dtype_policy(policy), distribution.scope():
        model = build_model(
            config.model.name,
            image_size=config.model.image_size,
            num_classes=num_classes,
            **model_arguments(config.model),
        )
    _check_stages(config, model)
    facts = {"precision": policy, "precision_reason": reason, "jit_compile": uses_jit(config)}
    if config.model.name not in MODELS:
        facts["imports"] = [part_module(config.model.name, NETWORK)]
    return model, facts | distribution.facts()


def check_parts(config: ExperimentConfig) -> None:
    """Refuse a network or a loss that is not there, or can't be imported.

    Raises:
        UserError: says which.
    """
    load_part(config.model.name, MODELS, NETWORK)
    load_part(config.train.loss, LOSSES, LOSS)


def _check_stages(config: ExperimentConfig, model: keras.Model) -> None:
    """Say before anything trains what of its stages a network does not fit."""
    stages = config.train.stages
    for stage in stages:
        unfreeze(model, stage.unfreeze)
    _check_norms(config, model)
    keeps = config.train.feature_views and config.train.feature_cache == "on"
    if keeps and any(stage.unfreeze == "head" for stage in stages):
        check_head(model)
    if config.train.progressive.stages > 1:
        _check_size(config, model, plan_progress(config)[0].size)


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


def _check_size(config: ExperimentConfig, model: keras.Model, size: tuple[int, int]) -> None:
    """Say that the first stage's images are too small for the network, or no size of its own."""
    arguments = model_arguments(config.model)
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


def plan_progress(config: ExperimentConfig) -> list[Progress]:
    """What each progressive stage of a config sees; one stage that sees all where it has none."""
    values = config.train.progressive.model_dump()
    return list_progress(image_size=config.model.image_size, **values)


def model_arguments(config: ModelConfig) -> dict[str, Any]:
    """The builder's arguments that the config sets; the others keep the builder's defaults."""
    common = {"name", "image_size", "resize", "weights", "options"}
    values = config.model_dump(exclude=common)
    return {name: value for name, value in values.items() if value is not None} | config.options


def uses_jit(config: ExperimentConfig) -> bool:
    """Whether a config's network is compiled by XLA on this machine."""
    wish = config.train.jit_compile
    alone = config.train.distribution == "none"
    return wish == "on" or (wish == "auto" and alone and has_gpu())
