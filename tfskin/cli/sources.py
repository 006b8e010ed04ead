"""The arguments of the commands that read images on disk: which source, and where."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tfskin.datasets.options import PhantomOptions, PrepareOptions

Source = Annotated[
    str,
    typer.Argument(
        help="ham10000, isic_archive, isic_2016 to isic_2020, isic_2024, milk10k, image_folder, "
        "table or phantom; or a function of one's own as package.module:function."
    ),
]
SourcePath = Annotated[
    Path | None, typer.Argument(help="The folder or table to read; leave it out for phantom.")
]


def seed_phantoms(source: str, options: PrepareOptions) -> PrepareOptions:
    """The options, with their seed passed on to the phantoms if those are the source."""
    phantom = options.source.phantom
    if source != "phantom" and phantom is None:
        return options
    phantom = replace(phantom or PhantomOptions(), seed=options.seed)
    return replace(options, source=replace(options.source, phantom=phantom))
