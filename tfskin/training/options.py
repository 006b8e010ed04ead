"""What can be chosen when an experiment is trained several times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfskin.options import Options, option


@dataclass(frozen=True)
class Repeats(Options):
    """Which runs: each fold, times so many seeds, times every combination of settings."""

    folds: int | None = option(None, "Train one run for each of this many folds.", low=2)
    seeds: int | None = option(None, "Train one run for each of this many seeds.", low=2)
    sweep: Mapping[str, Sequence[Any]] = option(dict, "Dotted key -> values to try.", flag=None)
