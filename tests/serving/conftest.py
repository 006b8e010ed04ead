"""One exported ensemble that several files of tests only read."""

from pathlib import Path

import pytest

from tests.serving.images import encode, make_image
from tfskin.ensembling import Combiner, build_ensemble
from tfskin.evaluation.calibration import Calibration, Knots
from tfskin.evaluation.decision import Conformal, Decision, OperatingPoint
from tfskin.inputs import Sample
from tfskin.models.five_layer import build_five_layer
from tfskin.schema import ColorSpaceName
from tfskin.serving.graph import GraphOptions
from tfskin.serving.saved_model import ExportOptions, export_saved_model

NAMES = ("bkl", "mel", "nv")
MEMBERS: tuple[ColorSpaceName, ...] = ("rgb", "hsv", "fft")
SAMPLES = [Sample(encode(make_image(seed)), f"ISIC_{seed}", "CC-0") for seed in range(3)]


def build_members(size=(32, 32)):
    return [
        build_five_layer(
            image_size=size, num_classes=3, color_space=space, widths=(4, 4, 4, 8, 8), dropout=0.1
        )
        for space in MEMBERS
    ]


@pytest.fixture(scope="session")
def ensemble_model():
    combiner = Combiner("weights", weights=(0.5, 0.3, 0.2), temperature=1.1)
    return build_ensemble(build_members(), combiner)


@pytest.fixture(scope="session")
def ensemble_graph():
    knots = Knots(x=(0.1, 0.3, 0.9), y=(0.05, 0.4, 0.8))
    decision = Decision(
        class_names=NAMES,
        calibration=Calibration(method="isotonic", classes=dict.fromkeys(NAMES, knots)),
        malignant=("mel", "bkl"),
        thresholds={
            "sensitivity_0.95": OperatingPoint(threshold=0.2),
            "specificity_0.9": OperatingPoint(threshold=0.99),
        },
        conformal=Conformal(coverage=0.9, per_class={"bkl": 0.5, "mel": 0.66, "nv": 1.0}),
    )
    return GraphOptions(image_size=(32, 32), decision=decision, member_names=MEMBERS)


@pytest.fixture(scope="session")
def ensemble_export(tmp_path_factory, ensemble_model, ensemble_graph) -> Path:
    folder = tmp_path_factory.mktemp("ensemble")
    options = ExportOptions(graph=ensemble_graph, output_dir=folder, name="lesions")
    return export_saved_model(ensemble_model, options=options, samples=SAMPLES)
