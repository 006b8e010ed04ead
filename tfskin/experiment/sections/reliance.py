"""Section: what the model relies on, seen on changed images."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfskin.evaluation.curve_plots import plot_corruptions
from tfskin.evaluation.decision import decide
from tfskin.evaluation.metric_table import columns_of, heading_of, metrics_shown
from tfskin.evaluation.plots import format_metric
from tfskin.evaluation.reliance import Probe, count_passes, reliance_metrics
from tfskin.evaluation.report import Block, Paragraph, Plot, Table
from tfskin.evaluation.subgroups import artefact_columns
from tfskin.experiment.run_predictions import read_images
from tfskin.experiment.sections.base import Evaluation, ReportSection
from tfskin.progress import progress_bar


class RelianceSection(ReportSection):
    """The lesion or its surroundings, artefacts, orientation, image quality."""

    heading = "Reliance"
    keys = ("reliance",)

    def applies(self, evaluation: Evaluation) -> bool:
        """On the run's own data, unless it is turned off."""
        return evaluation.external is None and evaluation.config.reliance_images > 0

    def compute(self, evaluation: Evaluation) -> dict[str, Any]:
        """``reliance``: seen on the first images of the headline split.

        They are the first in file order, which ``tfskin-prepare`` has shuffled.
        """
        headline, config = evaluation.headline, evaluation.config
        first = headline.take(slice(config.reliance_images))
        flags = artefact_columns(headline.facts)

        def predict(images: np.ndarray) -> np.ndarray:
            logits = evaluation.model.predict(images, verbose=0, batch_size=config.batch_size)
            return decide(logits, evaluation.decision).probabilities

        inputs, split = evaluation.run.inputs(), evaluation.split
        probe = Probe(
            predict=predict,
            images=read_images(evaluation.shards, split, inputs, range(len(first))),
            clean=(first.facts[flags].astype(int) == 0).all(axis=1).to_numpy() if flags else None,
        )
        with progress_bar("reliance", total=count_passes()) as advance:
            found = reliance_metrics(first, evaluation.bootstrap, probe, advance=advance)
        return {"reliance": {"split": split, "artefacts_recorded": bool(flags), **found}}

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """Tables of hidden lesions, pasted artefacts and turned images; a plot of corruptions."""
        found = metrics["reliance"]
        batch = found["consistency"]["batch"]
        blocks: list[Block] = [
            Paragraph(
                text=f"On the first {found['images']} images of {found['split']}. A model that "
                "does as well with the lesion hidden looks at something else."
            ),
            *_tables(found),
            Paragraph(
                text="Largest difference of a probability between an image alone and in a batch: "
                f"{batch:.1e}."
            ),
            _plot(found),
        ]
        return [block for block in blocks if getattr(block, "rows", True)]


def _tables(found: Mapping[str, Any]) -> list[Table]:
    views = {
        "as it is": found["unchanged"],
        "lesion hidden": found["lesion_hidden"],
        "only the lesion": found["lesion_only"],
    }
    clean = "without a recorded artefact" if found["artefacts_recorded"] else "as they are"
    turns = {name: one for name, one in found["consistency"].items() if name != "batch"}
    return [
        Table.of(
            views,
            columns_of(metrics_shown("reliance")),
            caption="Lesion and surroundings",
            first="Image",
        ),
        Table.of(
            found["pasted"],
            {"changed": "Another class", "mean_change": "Change of malignant score"},
            caption=f"Artefacts pasted into {found['clean_images']} images {clean}",
            first="Artefact",
        ),
        Table.of(
            turns,
            {"same": "Same class", "mean_difference": "Mean difference of the probabilities"},
            caption="Consistency",
            first="Image",
        ),
    ]


def _plot(found: Mapping[str, Any]) -> Plot:
    unchanged, corruptions = found["unchanged"], found["corruptions"]
    best = "malignant_auc" if unchanged["malignant_auc"] else "macro_auc"
    return Plot(
        heading="Images corrupted more and more; the dashed line is the image as it is",
        figure=plot_corruptions(
            corruptions, unchanged=unchanged, name=best, heading=heading_of(best)
        ),
        alt="; ".join(
            f"{kind}: "
            + ", ".join(f"{one['level']:g}: {format_metric(one[best])}" for one in levels)
            for kind, levels in corruptions.items()
        ),
    )
