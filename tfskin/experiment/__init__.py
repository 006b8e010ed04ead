"""The rooms joined: one function per command, each a step from images to predictions."""

from tfskin.startup import import_tensorflow_quietly

import_tensorflow_quietly()

from tfskin.datasets.options import PrepareOptions  # noqa: E402
from tfskin.experiment.auditing import audit  # noqa: E402
from tfskin.experiment.comparing import compare  # noqa: E402
from tfskin.experiment.ensembling import ensemble  # noqa: E402
from tfskin.experiment.evaluating import evaluate  # noqa: E402
from tfskin.experiment.explaining import explain  # noqa: E402
from tfskin.experiment.exporting import export  # noqa: E402
from tfskin.experiment.predicting import predict  # noqa: E402
from tfskin.experiment.preparing import prepare  # noqa: E402
from tfskin.experiment.training import resume, train  # noqa: E402
from tfskin.serving.options import ServingOptions  # noqa: E402

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
