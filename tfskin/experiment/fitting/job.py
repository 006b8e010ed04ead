"""The job that trains a run: one process, or several that must agree on what they do."""

import json
import logging
import os

from tfskin.config import dump_config
from tfskin.datasets.shards import Shards
from tfskin.errors import UserError
from tfskin.experiment.fitting.data import find_shards
from tfskin.runs import Run
from tfskin.schema import ExperimentConfig
from tfskin.training.checkpoints import Checkpoint
from tfskin.training.replicas import Replicas

logger = logging.getLogger(__name__)


def start_distribution(config: ExperimentConfig) -> Replicas:
    """The replicas that ``train.distribution`` asks for."""
    kind = config.train.distribution
    if kind == "none":
        return Replicas()
    from tfskin.training.distribution import Distribution

    distribution = Distribution(kind)
    logger.info(str(distribution))
    return distribution


def is_follower(config: ExperimentConfig) -> bool:
    """Whether another process of the same job writes the run, and prints what it reached."""
    if config.train.distribution != "multi_worker":
        return False
    try:
        return int(json.loads(os.environ["TF_CONFIG"])["task"]["index"]) != 0
    except (KeyError, TypeError, ValueError):  # refused where processes come together
        return False


def refuse_distribution(config: ExperimentConfig, what: str, *, mirrored: bool = False) -> None:
    """Refuse what can't be done by several processes; or, unless ``mirrored``, on several GPUs.

    Raises:
        UserError: the config asks for it.
    """
    kind = config.train.distribution
    if kind == "multi_worker" or (kind == "mirrored" and not mirrored):
        raise UserError(f"train.distribution: {what} can't be {kind}; set it to none")


def find_shards_together(folder: str, config: ExperimentConfig, distribution: Replicas) -> Shards:
    """The shards of a config; the embedded phantoms are drawn by the process that writes."""
    if not distribution.is_chief:
        distribution.wait_for_all()
    data, verify = config.data, distribution.is_chief
    shards = find_shards(folder, exclude=data.exclude, fold=data.fold, verify=verify)
    if distribution.is_chief:
        distribution.wait_for_all()
    return shards


def check_same_job(
    run: Run,
    config: ExperimentConfig,
    shards: Shards,
    distribution: Replicas,
    checkpoint: Checkpoint | None,
) -> None:
    """Refuse to go on with another number of replicas, or where processes see different things.

    Raises:
        UserError: says which.
    """
    replicas = distribution.replicas
    if checkpoint is not None:
        former = run.environment().get("replicas", replicas if not run.environment() else 1)
        if former != replicas:
            raise UserError(
                f"{run.folder}: was begun on {former} replica{'s' * (former > 1)}, and here "
                f"{'is' if replicas == 1 else 'are'} {replicas}, so its steps would be others; "
                "start as many, or give --overwrite to start anew"
            )
    seen = "nothing" if checkpoint is None else str(checkpoint.state)
    for text, what in (
        (dump_config(config), "their config"),
        (shards.fingerprint, "the content of their shards"),
        (seen, f"what they find in {run.folder}, which must be a folder that all share"),
    ):
        distribution.check_agreement(text, what)
