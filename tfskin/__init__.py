"""From a folder of dermoscopic images to a served skin-lesion classifier.

The rooms, in the order that data walks through them:

- :mod:`tfskin.schema`, :mod:`tfskin.config`: one typed schema for an experiment; YAML in and out
- :mod:`tfskin.datasets`: pictures on disk -> records -> splits -> shards
- :mod:`tfskin.inputs`: shards -> batches
- :mod:`tfskin.layers`, :mod:`tfskin.models`: pure Keras networks, RGB 0..255 in, logits out
- :mod:`tfskin.training`: losses, schedules, precision, the fit, checkpoints
- :mod:`tfskin.evaluation`: metrics, intervals, plots, the report
- :mod:`tfskin.ensembling`: member probabilities -> ensemble probabilities -> one Keras model
- :mod:`tfskin.serving`: SavedModel for TensorFlow Serving, ONNX, LiteRT, the client of a server
- :mod:`tfskin.prediction`, :mod:`tfskin.annotation`: pictures -> table, annotated pictures
- :mod:`tfskin.experiment`: joins the rooms; the functions below
- :mod:`tfskin.cli`: one thin file per command

The public functions are found when first used, so that ``import tfskin`` takes no time.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "EnsembleConfig": "tfskin.schema",
    "ExperimentConfig": "tfskin.schema",
    "ExternalConfig": "tfskin.schema",
    "PrepareOptions": "tfskin.experiment",
    "ServingOptions": "tfskin.experiment",
    "prepare": "tfskin.experiment",
    "audit": "tfskin.experiment",
    "train": "tfskin.experiment",
    "ensemble": "tfskin.experiment",
    "evaluate": "tfskin.experiment",
    "compare": "tfskin.experiment",
    "explain": "tfskin.experiment",
    "export": "tfskin.experiment",
    "predict": "tfskin.experiment",
    "build_model": "tfskin.models",
    "make_dataset": "tfskin.inputs",
    "load_shards": "tfskin.datasets.shards",
    "read_config": "tfskin.config",
    "open_run": "tfskin.runs",
    "resume": "tfskin.experiment",
    "UserError": "tfskin.errors",
}

_LIGHT = ("tfskin.config", "tfskin.schema", "tfskin.errors", "tfskin.runs")

__all__ = [
    "EnsembleConfig",
    "ExperimentConfig",
    "ExternalConfig",
    "PrepareOptions",
    "ServingOptions",
    "UserError",
    "__version__",
    "audit",
    "build_model",
    "compare",
    "ensemble",
    "evaluate",
    "explain",
    "export",
    "load_shards",
    "make_dataset",
    "open_run",
    "predict",
    "prepare",
    "read_config",
    "resume",
    "train",
]

if TYPE_CHECKING:
    from tfskin.config import read_config
    from tfskin.datasets.shards import load_shards
    from tfskin.errors import UserError
    from tfskin.experiment import (
        PrepareOptions,
        ServingOptions,
        audit,
        compare,
        ensemble,
        evaluate,
        explain,
        export,
        predict,
        prepare,
        resume,
        train,
    )
    from tfskin.inputs import make_dataset
    from tfskin.models import build_model
    from tfskin.runs import open_run
    from tfskin.schema import EnsembleConfig, ExperimentConfig, ExternalConfig


def __getattr__(name: str) -> Any:
    """Find a public function in its room."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tfskin' has no attribute '{name}'")
    import importlib

    if _HOMES[name] not in _LIGHT:
        from tfskin.startup import import_tensorflow_quietly

        import_tensorflow_quietly()
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
