"""A config -> the learning-rate range test's image and table; no run."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from tfskin.datasets.shards import Shards
from tfskin.errors import UserError
from tfskin.evaluation.plots import GRID, PALETTE, finish_figure, save_figure
from tfskin.experiment.fitting.data import find_shards
from tfskin.experiment.fitting.job import refuse_distribution
from tfskin.experiment.fitting.network import build_network, start_weights
from tfskin.experiment.fitting.stages import TrainingData, plan_stages
from tfskin.files import replace_file
from tfskin.inputs import class_names, damage_named
from tfskin.locks import only_writer
from tfskin.schema import ExperimentConfig
from tfskin.training.fit import FitData
from tfskin.training.progressive import dropout_rates
from tfskin.training.rate_range import RateRange, measure_rates
from tfskin.training.stages import begin_stage


class RateReport(NamedTuple):
    """What was seen and where it lies."""

    found: RateRange
    image: Path
    table: Path


def find_rate(
    config: ExperimentConfig,
    *,
    output: Path | str | None = None,
    updates: int = 200,
) -> RateReport:
    """Raise the learning rate from 1e-6 to 1 over ``updates`` updates of the first stage.

    Writes ``<output>/<name>.png`` and ``.csv`` (``output`` is ``find_lr`` unless given) and leaves
    nothing else behind; the schedule and warm-up of the config are not used.

    Raises:
        UserError: as for :func:`tfskin.train`; the loss is no number at the lowest rate.
    """
    refuse_distribution(config, "the learning-rate range test")
    data = config.data
    shards = find_shards(data.shards, exclude=data.exclude, fold=data.fold)
    names = class_names(shards, data.classes)
    folder = Path(output) if output else Path("find_lr")
    with only_writer(folder / f"{config.name}.csv"):
        return _find_rate(config, shards, names, folder, updates)


def _find_rate(
    config: ExperimentConfig, shards: Shards, names: list[str], folder: Path, updates: int
) -> RateReport:
    network, _ = build_network(config, num_classes=len(names))
    start_weights(network, config.model)
    # The first stage's images themselves, also where their features would be kept.
    train = config.train.model_copy(update={"feature_views": 0})
    seen = TrainingData(config.model_copy(update={"train": train}), shards, names, folder)
    [first, *_] = plan_stages(seen.config, seen)
    _, model = begin_stage(network, first, dropout_rates(network))
    assert isinstance(first.data, FitData)
    make_epoch = first.data.make_epoch
    with damage_named(shards, "train"):
        try:
            found = measure_rates(
                model,
                lambda epoch: make_epoch(epoch, 0),
                updates=updates,
                accumulate=config.train.accumulate,
            )
        except ValueError as error:
            raise UserError(f"{config.name}: {error}; try train.precision=float32") from None
    folder.mkdir(parents=True, exist_ok=True)
    report = RateReport(found, folder / f"{config.name}.png", folder / f"{config.name}.csv")
    save_figure(plot_rates(found, title=f"{config.name}: loss by learning rate"), report.image)
    with replace_file(report.table) as temporary:
        columns = {"learning_rate": found.rates, "smoothed_loss": found.losses}
        pd.DataFrame(columns).to_csv(temporary, index=False)
    return report


def plot_rates(found: RateRange, *, title: str) -> Figure:
    """The smoothed loss by learning rate, with both suggestions marked."""
    figure = Figure(figsize=(6.4, 3.9), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color=PALETTE[0])
    marks = ((found.steepest, "falls fastest", "--"), (found.tenth, "tenth of the lowest", ":"))
    for number, (rate, label, style) in enumerate(marks, start=1):
        axes.axvline(rate, color=PALETTE[number], linestyle=style, label=f"{label}: {rate:.1e}")
    axes.set_xscale("log")
    axes.set_xlabel("Learning rate")
    axes.set_ylabel("Loss, smoothed")
    axes.grid(color=GRID, linewidth=0.8)
    axes.legend(frameon=False, fontsize=9)
    finish_figure(figure, axes, title)
    return figure
