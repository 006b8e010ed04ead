"""What can be chosen when a model is exported, and when a server is asked."""

from dataclasses import dataclass
from typing import Literal

from tfskin.options import Options, option

ExportFormat = Literal["saved_model", "onnx", "litert"]


@dataclass(frozen=True)
class ServingOptions(Options):
    """What an export does besides the network."""

    test_time_augmentation: bool = option(
        False, "Average over mirrored and turned copies (8 times the work of the network)."
    )
    float16_weights: bool = option(False, "Half the bytes; computed in float32.")
    max_pixels: int | None = option(
        None, "Largest height times width that is decoded; 50 million.", low=1
    )


@dataclass(frozen=True)
class ServerOptions(Options):
    """How long a server is waited for."""

    timeout: float = option(
        60.0, "URL: seconds to wait for an answer, those for retries not counted.", low=0.001
    )
    retries: int = option(
        4,
        "URL: attempts after a failed one, each after a longer pause; over gRPC at most four.",
        low=0,
        high=100,
    )
    parallel: int = option(
        4, "Requests under way at a time; a server that batches makes one of them.", flag=None
    )
