"""What a run was taught on, by itself and by the runs that its weights come from."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from tfskin.config import read_values
from tfskin.datasets.folds import fold_number
from tfskin.datasets.merging import ISIC_ID, SHARED_IDS
from tfskin.datasets.shards import Shards
from tfskin.errors import UserError
from tfskin.experiment.run_predictions import load_run_shards
from tfskin.files import replace_file
from tfskin.inputs import read_labels
from tfskin.runs import Run

logger = logging.getLogger(__name__)

FORMER_FILE = "former_images.csv"
"""In a run with start weights of another: the images that other runs were taught on before."""

KEYS = ("image", "lesion", "patient")
COLUMNS = (*KEYS, "part", "run")
_HELD_OUT = ("val", "calibration", "test")

Overlap = dict[str, dict[str, int]]
"""Split -> how many images, and groups, of how many images, former runs were taught on."""


def link_keys(facts: pd.DataFrame) -> pd.DataFrame:
    """``image``, ``lesion`` and ``patient`` as text, the same for the same in several data sets.

    An id of the ISIC Archive or of a collection in it means one thing everywhere, any other in its
    own source only; an unknown one is empty.
    """
    archive = facts["image_id"].str.extract(ISIC_ID)[0]
    keys = {"image": archive.fillna(facts["source"] + " " + facts["image_id"])}
    for name, column in (("lesion", "lesion_id"), ("patient", "patient_id")):
        ids = facts.get(column, pd.Series("", index=facts.index)).fillna("").astype(str)
        shared = ids.str.fullmatch(SHARED_IDS[column])
        keys[name] = ids.where(shared | (ids == ""), facts["source"] + " " + ids)
    return pd.DataFrame(keys, columns=list(KEYS))


def own_images(run: Run) -> pd.DataFrame:
    """A row for each image that the run itself was taught on: keys, ``part`` (train, val), run.

    Where an ensemble's members held out different folds, every fold was trained on.

    Raises:
        UserError: the run's shards are gone, or their content changed.
    """
    shards = load_run_shards(run)
    folds = [part for part in shards.counts if fold_number(part) is not None]
    parts = []
    for part in ("train", "val", *folds):
        keys = link_keys(read_labels(shards, part, run.inputs().classes))
        parts.append(keys.assign(part="val" if part == "val" else "train", run=str(run.folder)))
    return pd.concat(parts, ignore_index=True)


def former_images(run: Run, *, visited: frozenset[Path] = frozenset()) -> pd.DataFrame:
    """The same of all runs that this one's weights come from, near and far.

    Raises:
        UserError: one of them is gone, and the run is of a version that did not note its images.
    """
    path = run.folder / FORMER_FILE
    if path.is_file():
        return _read(path)
    about, here = run.environment(), run.folder.resolve()
    weights = about.get("weights")
    sources = [weights.get("source", "")] if isinstance(weights, dict) else []
    former = [run_of_weights(str(source)) for source in sources]
    missing = [str(s) for s, one in zip(sources, former, strict=True) if one is None]
    if any(Path(source).name == "model.keras" and not Path(source).exists() for source in missing):
        raise UserError(f"{run.folder}: its start weights came from {missing[0]}, which is gone")
    tables = [
        taught_images(one, visited=visited | {here})
        for one in former
        if one is not None and one.folder.resolve() not in visited
    ]
    for member in about.get("members", []):
        place = Path(str(member))
        if not (place / "inputs.json").is_file():
            raise UserError(f"{run.folder}: its member {member} is gone")
        if place.resolve() not in visited:
            tables.append(former_images(Run(place), visited=visited | {here}))
    return pd.concat([_none(), *tables], ignore_index=True)


def taught_images(run: Run, *, visited: frozenset[Path] = frozenset()) -> pd.DataFrame:
    """What the run was taught on, and all runs before it; a row an image and run.

    Raises:
        UserError: as :func:`own_images` and :func:`former_images`.
    """
    tables = [own_images(run), former_images(run, visited=visited)]
    return pd.concat(tables, ignore_index=True)


def run_of_weights(weights: str | None) -> Run | None:
    """The run that start weights come from: its folder, or a file in it; None for other files."""
    if weights is None:
        return None
    for folder in (Path(weights), Path(weights).parent):
        if (folder / "inputs.json").is_file():
            return Run(folder)
    return None


def write_former(run: Run, images: pd.DataFrame) -> None:
    """Note what former runs were taught on, so that it is known when they are gone."""
    if len(images):
        with replace_file(run.folder / FORMER_FILE) as temporary:
            images.drop_duplicates().to_csv(temporary, index=False)


def seen_before(images: pd.DataFrame, facts: pd.DataFrame) -> np.ndarray:
    """(N,) whether an image's group holds an image, lesion or patient of those images."""
    keys, hit = link_keys(facts), np.zeros(len(facts), bool)
    for name in KEYS:
        known = images[name][images[name] != ""]
        hit |= keys[name].isin(known).to_numpy()
    if "group" in facts:
        hit = facts["group"].isin(facts["group"][hit]).to_numpy()
    return hit


def find_overlap(images: pd.DataFrame, shards: Shards) -> Overlap:
    """The held-out splits of which former runs were taught on some groups; others are left out.

    Of val that is what they trained on: the same images may choose the best epoch twice. Of
    calibration and test it is also what chose their epochs.
    """
    found: Overlap = {}
    for split in _HELD_OUT:
        facts = read_labels(shards, split, None)
        taught = images[images["part"] == "train"] if split == "val" else images
        hit = seen_before(taught, facts)
        if hit.any():
            groups = facts["group"][hit].nunique()
            found[split] = {"images": int(hit.sum()), "groups": groups, "of": len(facts)}
    return found


def run_overlap(run: Run) -> Overlap | None:
    """What former runs were taught on of a run's own held-out splits; None where nobody knows."""
    try:
        former = former_images(run)
        return find_overlap(former, load_run_shards(run)) if len(former) else {}
    except UserError as error:
        logger.warning(f"{run.folder}: not known what its start weights were taught on: {error}")
        return None


def allows_overlap(run: Run) -> bool:
    """Whether the run was trained with ``data.allow_overlap``, so that it stands in its figures."""
    data = read_values(run.folder / "config.yaml").get("data")
    return isinstance(data, dict) and data.get("allow_overlap") is True


def describe_overlap(overlap: Overlap) -> str:
    """``15 of 18 images of test (12 groups), ...``."""
    parts = [
        f"{one['images']} of {one['of']} images of {split} ({one['groups']} groups)"
        for split, one in overlap.items()
    ]
    return ", ".join(parts)


def _read(path: Path) -> pd.DataFrame:
    try:
        found = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error}); train the run again") from None
    if list(found.columns) != list(COLUMNS):
        raise UserError(f"{path}: must have the columns {', '.join(COLUMNS)}; train the run again")
    return found


def _none() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=str) for name in COLUMNS})
