"""What can be chosen when images are predicted."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfskin.options import Options, option
from tfskin.serving.options import ServerOptions

if TYPE_CHECKING:
    from tfskin.schema import WindowConfig
else:
    WindowConfig = Any  # pydantic's import would be most of what --help takes


@dataclass(frozen=True)
class StreamOptions(Options):
    """How images are predicted."""

    batch_size: int = option(32, "Images a step.", low=1)
    windows: WindowConfig | None = option(
        None,
        "Windows of an image, whose probabilities are averaged; None for the whole image, or "
        "for those that the model was trained on. In pixels of the image as it is; for a model "
        "that was trained on windows, as its shards would store it.",
        flag=None,
    )
    heat_maps: bool = option(
        False,
        "Whether predictions get a heat map, where the model can make one. Not of windows: "
        "the map of one says nothing of the others.",
        flag=None,
    )


@dataclass(frozen=True)
class PredictOptions(Options):
    """How images are predicted, and where the result goes."""

    output: Path | str | None = option(
        None, "A .csv or .jsonl file to write; a stopped call goes on in it."
    )
    annotate: Path | str | None = option(
        None, "A folder for images with all class probabilities and the heat map beside them."
    )
    trust: bool = option(
        False,
        "Load a SavedModel whose graph has operations on files, hosts or Python: it is a program "
        "that runs with your rights.",
    )
    stream: StreamOptions = option(StreamOptions, "Size of a batch, windows, heat maps.", flag=None)
    server: ServerOptions = option(ServerOptions, "Time limits and retries for a URL.", flag=None)
