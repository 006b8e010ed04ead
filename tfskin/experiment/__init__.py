"""The rooms joined: one function per command, each a step from pictures to predictions."""

from tfskin.startup import import_tensorflow_quietly

import_tensorflow_quietly()

from tfskin.experiment.auditing import audit  # noqa: E402
from tfskin.experiment.comparing import compare  # noqa: E402
from tfskin.experiment.deployment import ServingOptions, export  # noqa: E402
from tfskin.experiment.ensemble_run import ensemble  # noqa: E402
from tfskin.experiment.evaluating import evaluate  # noqa: E402
from tfskin.experiment.explaining import explain  # noqa: E402
from tfskin.experiment.prediction_run import predict  # noqa: E402
from tfskin.experiment.preparation import PrepareOptions, prepare  # noqa: E402
from tfskin.experiment.training_run import resume, train  # noqa: E402

__all__ = [
    "PrepareOptions",
    "ServingOptions",
    "audit",
    "compare",
    "ensemble",
    "evaluate",
    "explain",
    "export",
    "predict",
    "prepare",
    "resume",
    "train",
]
