"""What can be chosen when images are predicted."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tfskin.options import Option, Options
from tfskin.serving.options import ServerOptions

if TYPE_CHECKING:
    from tfskin.schema import WindowConfig
else:
    WindowConfig = Any  # pydantic's import would be most of what --help takes


@dataclass(frozen=True)
class StreamOptions(Options):
    """How images are predicted."""

    batch_size: Annotated[int, Option("Images a step.", low=1)] = 32
    windows: Annotated[
        WindowConfig | None,
        Option(
            "Windows of an image, whose probabilities are averaged; None for the whole image, or "
            "for those that the model was trained on. In pixels of the image as it is; for a model "
            "that was trained on windows, as its shards would store it.",
            flag=None,
        ),
    ] = None
    heat_maps: Annotated[
        bool,
        Option(
            "Whether predictions get a heat map, where the model can make one. Not of windows: "
            "the map of one says nothing of the others.",
            flag=None,
        ),
    ] = False


@dataclass(frozen=True)
class PredictOptions(Options):
    """How images are predicted, and where the result goes."""

    output: Annotated[
        Path | str | None, Option("A .csv or .jsonl file to write; a stopped call goes on in it.")
    ] = None
    annotate: Annotated[
        Path | str | None,
        Option("A folder for images with all class probabilities and the heat map beside them."),
    ] = None
    stream: Annotated[StreamOptions, Option("Size of a batch, windows, heat maps.", flag=None)] = (
        field(default_factory=StreamOptions)
    )
    server: Annotated[ServerOptions, Option("Time limits and retries for a URL.", flag=None)] = (
        field(default_factory=ServerOptions)
    )
