"""Section: the curves of the training."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tfskin.errors import UserError
from tfskin.evaluation.plots import plot_curves, save_figure
from tfskin.evaluation.report import Block, Plot
from tfskin.experiment.sections.base import Evaluation, ReportSection
from tfskin.runs import Run


class TrainingSection(ReportSection):
    """Loss and metrics epoch by epoch."""

    heading = "Training"

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """The curves; nothing for an ensemble, and on another data set."""
        history = _read_history(evaluation.run)
        if history is None or evaluation.external is not None:
            return []
        last = history.iloc[-1]
        alt = ", ".join(
            f"{name} {last[name]:.3f}"
            for name in ("loss", "val_loss", "auc", "val_auc")
            if name in last
        )
        return [
            Plot(
                heading="Loss, AUC, balanced accuracy and learning rate by epoch",
                figure=plot_curves(history),
                alt=f"Curves over {len(history)} epochs; in the last one {alt}",
            )
        ]

    def save_plots(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> None:
        """The curves as PNG, beside the run's own plots only."""
        history = _read_history(evaluation.run)
        if history is not None and evaluation.folder == evaluation.run.folder:
            path = evaluation.folder / "plots" / "training_curves.png"
            save_figure(plot_curves(history), path)


def _read_history(run: Run) -> pd.DataFrame | None:
    """The metrics of each epoch; None for an ensemble, which has no epochs."""
    path = run.folder / "history.csv"
    if not path.is_file():
        return None
    try:
        return pd.read_csv(path)
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not a CSV: {error}; delete it to go on without curves") from None
