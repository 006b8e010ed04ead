"""What can be chosen when a data set is read, audited, split and stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tfskin.errors import UserError
from tfskin.options import Options, option

OnError = Literal["fail", "skip"]

_MIN_FRACTION = 0.01


@dataclass(frozen=True)
class Fractions:
    """The share of the images in each split; a split of fraction 0 is left out."""

    train: float = 0.70
    val: float = 0.10
    calibration: float = 0.08
    test: float = 0.12

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value != 0 and not _MIN_FRACTION <= value <= 1:
                raise UserError(f"fraction of {name}: must be 0 or 0.01 to 1, got {value:g}")
        total = math.fsum(asdict(self).values())
        if abs(total - 1) > 1e-6:
            raise UserError(f"fractions of the splits: must add up to 1, they add up to {total:g}")
        if self.train == 0:
            raise UserError(
                "fraction of train: must not be 0; there would be nothing to learn from"
            )


@dataclass(frozen=True)
class PhantomOptions:
    """How many phantoms, and how they look.

    Attributes:
        lesions: number of lesions; about 1.5 images each.
        seed: seed of every random choice; the same seed gives the same files.
        image_size: height and width in pixels.
        melanoma_fraction: part of the lesions that is melanoma-like, at the mean age.
        separation: distance of the two classes' means in every trait, in deviations; 0: the
            images say nothing about the class.
        hair, ruler, sticker, dark_corners: part of the images that has each artefact, the same
            in both classes.
        artefacts: whether there are any.
    """

    # Four splits need a few lesions each, so the command line asks for more than one.
    lesions: int = option(800, "phantom: number of lesions.", low=8)
    seed: int = 0
    image_size: tuple[int, int] = (150, 200)
    melanoma_fraction: float = 0.4
    separation: float = 2.2
    hair: float = 0.3
    ruler: float = 0.12
    sticker: float = 0.1
    dark_corners: float = 0.25
    artefacts: bool = option(
        True, "phantom: draw hair, ruler marks, stickers and dark corners (the default)."
    )

    def __post_init__(self) -> None:
        if self.lesions < 1:
            raise UserError(f"phantom: lesions is {self.lesions}; give at least 1")
        if self.seed < 0:
            raise UserError(f"phantom: seed is {self.seed}; give 0 or more")
        if min(self.image_size) < 16:
            raise UserError(f"phantom: image_size is {self.image_size}; give at least 16 by 16")
        if not 0 < self.melanoma_fraction < 1:
            raise UserError(
                f"phantom: melanoma_fraction is {self.melanoma_fraction}; give more than 0 and "
                "less than 1"
            )
        if self.separation < 0:
            raise UserError(f"phantom: separation is {self.separation}; give 0 or more")
        for name in ("hair", "ruler", "sticker", "dark_corners"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"phantom: {name} is {getattr(self, name)}; give 0 to 1")


@dataclass(frozen=True)
class SourceOptions(Options):
    """What a layout leaves open; each source takes only the options that its function has."""

    path_column: str | None = option(None, "table: the column of image paths.")
    label_column: str | None = option(
        None, "table, isic_archive, isic_2020, isic_2024: the column of diagnoses."
    )
    images: Path | str | None = option(
        None, "The folder of the images, if it can't be found automatically."
    )
    prefixes: dict[str, str] | None = option(
        None,
        "image_folder: PREFIX=CLASS by file name, such as P=positive.",
        flag="prefix",
        form="PREFIX=CLASS, such as P=positive",
    )
    phantom: PhantomOptions | None = option(None, "How many phantoms to draw, and how.", flag=None)


@dataclass(frozen=True)
class BeamRun:
    """How and where the pipelines of Apache Beam run.

    Attributes:
        options: as Beam takes them on a command line, such as
            ``--direct_num_workers=2 --direct_running_mode=multi_processing``.
        folder: where workers leave their results for this process. Every machine that takes part
            must see it, and the images, under the same path.
    """

    options: str
    folder: Path


@dataclass(frozen=True)
class ShardOptions(Options):
    """How records are stored."""

    max_side: int = option(
        512,
        "Images with a longer side are shrunk to it. Choose at least twice the input size of the "
        "networks, so that training can't tell shrunk images from others.",
        low=8,
    )
    jpeg_quality: int = option(
        95, "Of the images that are not stored as they are.", flag=None, low=1, high=100
    )
    max_shard_bytes: int = option(
        128 * 2**20, "No file grows beyond it, unless one record does.", flag=None, low=1
    )
    seed: int = option(0, "Of the order of the records in a split.", flag=None)
    workers: int | None = option(
        None, "Threads that decode and encode images; None: one a CPU.", flag=None
    )
    beam: BeamRun | None = option(
        None, "How an Apache Beam pipeline writes the files; None: this process.", flag=None
    )
    overwrite: bool = option(False, "Replace shards of the same name and version.", flag=None)
    near_duplicates: int | None = option(
        None,
        "How many near-duplicate pairs the groups hold, for the proof; None: they were not "
        "looked for.",
        flag=None,
    )
    photographs: Mapping[str, int] | None = option(
        None,
        "Counts of the links of photographs, for the proof; None: they were not looked for.",
        flag=None,
    )
    left_out: Mapping[str, str] = option(
        dict, "Image id -> why it is not in the shards, for the record.", flag=None
    )


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(Options):
    """What :func:`tfskin.prepare` can be told beyond the source and where it lies."""

    name: str | None = option(None, "Name of the data set. By default the source's name.")
    version: str = option("1.0.0", "Name of the version's folder below the data set.")
    also: Sequence[tuple[str, Path]] = option(
        (),
        "A further source to merge in: SOURCE=PATH. Can be repeated.",
        form="SOURCE=PATH, such as isic_2019=ISIC_2019/",
    )
    download: bool = option(
        False,
        "First download the source's public archives into PATH; a stopped download is continued.",
    )
    harmonise: bool | None = option(
        None, "Write every diagnosis by its common name (the default with --also)."
    )
    fractions: Fractions = option(Fractions, "Shares of train, val, calibration and test.")
    folds: int | None = option(
        None, "Split train and val into this many folds for cross-validation.", low=2, high=100
    )
    split_file: Path | None = option(
        None, "A published splits.csv: prepare uses it again, audit judges it.", flag="split"
    )
    drop_leaks: bool = option(
        False,
        "Leave out images that share a lesion or a photograph with a given test split; with "
        "--split, images that have no row in it.",
    )
    near_duplicates: bool = option(True, "Look for near duplicates, to keep them in one split.")
    photographs: bool | None = option(
        None,
        "Look for further photographs of one lesion, to keep them in one split (on, except for "
        "phantoms, whose lesions are drawn).",
    )
    artefacts: bool = option(
        True,
        "Look for dark corners, hair and stickers, and note what is found.",
        flag="find-artefacts",
    )
    on_error: OnError = option("fail", "What happens to an image that cannot be used.")
    shards: ShardOptions = option(
        ShardOptions, "Size cap and quality of the stored images.", flag=None
    )
    beam_options: str | None = option(
        None,
        "Run as an Apache Beam pipeline with these options, such as "
        "'--direct_num_workers=2 --direct_running_mode=multi_processing'.",
    )
    source: SourceOptions = option(
        SourceOptions, "What the layout of the source leaves open.", flag=None
    )
    seed: int = option(0, "Seed of every random choice.", low=0, high=2**31 - 1)
    overwrite: bool = option(False, "Replace what is there already.")
