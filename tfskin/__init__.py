"""From a folder of dermoscopic images to a served skin-lesion classifier.

The rooms, in the order that data walks through them:

- :mod:`tfskin.schema`, :mod:`tfskin.config`: one typed schema for an experiment; YAML in and out
- :mod:`tfskin.datasets`: images on disk -> records -> splits -> shards
- :mod:`tfskin.inputs`: shards -> batches
- :mod:`tfskin.layers`, :mod:`tfskin.models`: pure Keras networks, RGB 0..255 in, logits out
- :mod:`tfskin.training`: losses, schedules, precision, the fit, checkpoints
- :mod:`tfskin.evaluation`: metrics, intervals, plots, the report
- :mod:`tfskin.ensembling`: member probabilities -> ensemble probabilities -> one Keras model
- :mod:`tfskin.serving`: SavedModel for TensorFlow Serving, ONNX, LiteRT, the client of a server
- :mod:`tfskin.prediction`, :mod:`tfskin.annotation`: images -> table, annotated images
- :mod:`tfskin.experiment`: joins the rooms; the functions below
- :mod:`tfskin.cli`: one thin file per command

The public functions are found when first used, so that ``import tfskin`` takes no time. Once Keras
is there too, ``keras.saving.load_model("runs/first/model.keras")`` finds the classes of tfskin that
a saved model may hold.
"""

import importlib
from types import ModuleType
from typing import Any

import wrapt

__version__ = "0.1.0"

_LIGHT = {
    "tfskin.config": ("read_config",),
    "tfskin.datasets.options": ("PrepareOptions",),
    "tfskin.errors": ("UserError",),
    "tfskin.runs": ("open_run",),
    "tfskin.schema": ("EnsembleConfig", "ExperimentConfig", "ExternalConfig"),
    "tfskin.serving.options": ("ServingOptions",),
}
_WITH_TENSORFLOW = {
    "tfskin.datasets.shards": ("load_shards",),
    "tfskin.experiment": (
        *("prepare", "audit", "train", "resume", "ensemble"),
        *("evaluate", "compare", "explain", "export", "predict"),
    ),
    "tfskin.inputs": ("make_dataset",),
    "tfskin.models": ("build_model",),
}
_HOMES = {name: room for room, names in (_LIGHT | _WITH_TENSORFLOW).items() for name in names}

__all__ = sorted([*_HOMES, "__version__"])  # what type checkers see stands in __init__.pyi

_SAVED_WITH_A_MODEL = (
    *("tfskin.layers", "tfskin.models.auxiliary", "tfskin.ensembling.fused"),
    *("tfskin.training.losses", "tfskin.training.metrics", "tfskin.training.optimizers"),
    *("tfskin.training.progressive", "tfskin.training.schedules", "tfskin.training.updates"),
)


@wrapt.when_imported("keras")
def _register_layers(_: ModuleType) -> None:
    """Let Keras know the classes that a saved model may hold."""
    for module in _SAVED_WITH_A_MODEL:
        importlib.import_module(module)


def __getattr__(name: str) -> Any:
    """Find a public function in its room."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tfskin' has no attribute '{name}'")
    if _HOMES[name] in _WITH_TENSORFLOW:
        from tfskin.startup import import_tensorflow_quietly

        import_tensorflow_quietly()
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
