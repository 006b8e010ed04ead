"""Section: what the model takes and answers, what it is for, and what it is not for."""

from collections.abc import Mapping
from typing import Any

from tfskin.evaluation.report import Block, Facts
from tfskin.experiment.sections.base import Evaluation, ReportSection


class ModelCard(ReportSection):
    """After Mitchell et al., Model Cards for Model Reporting (FAT* 2019)."""

    heading = "Model card"

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """Facts in words."""
        inputs = evaluation.run.inputs()
        height, width = inputs.image_size
        values = {
            "Takes": f"RGB images, brought to {height} × {width} px ({inputs.resize})",
            "Answers": f"one probability for each of {', '.join(evaluation.run.class_names())}",
            "Intended use": "research on the classification of dermoscopic images of single skin "
            "lesions, by people who can judge its figures",
            "Not intended": "diagnosis, triage or any decision about a person; images that are "
            "not dermoscopic; lesions of other kinds than its classes, to which it gives one of "
            "them all the same",
            "Limits": "figures hold for images like those of the data above; where a subgroup is "
            "missing or small there, nothing is known about it; other clinics, cameras and skin "
            "types can do much worse",
            "Licence": "the weights carry no more rights than the licences of the training images",
        }
        return [Facts(values=values)]
