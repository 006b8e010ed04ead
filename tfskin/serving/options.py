"""What can be chosen when a model is exported, and when a server is asked."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tfskin.options import Option, Options

ExportFormat = Literal["saved_model", "onnx", "litert"]


@dataclass(frozen=True)
class ServingOptions(Options):
    """What an export does besides the network."""

    test_time_augmentation: Annotated[
        bool, Option("Average over mirrored and turned copies (8 times the work of the network).")
    ] = False
    float16_weights: Annotated[bool, Option("Half the bytes; computed in float32.")] = False
    max_pixels: Annotated[
        int | None,
        Option("Largest height times width that is decoded; 50 million.", low=1),
    ] = None


@dataclass(frozen=True)
class ServerOptions(Options):
    """How long a server is waited for."""

    timeout: Annotated[
        float,
        Option("URL: seconds to wait for an answer, those for retries not counted.", low=0.001),
    ] = 60.0
    retries: Annotated[
        int,
        Option(
            "URL: attempts after a failed one, each after a longer pause; over gRPC at most four.",
            low=0,
            high=100,
        ),
    ] = 4
    parallel: Annotated[
        int,
        Option("Requests under way at a time; a server that batches makes one of them.", flag=None),
    ] = 4
