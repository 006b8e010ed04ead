"""Phantoms: drawn dermoscopic images, so that everything runs without a download."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tfskin.datasets.options import PhantomOptions
from tfskin.datasets.records import build_records
from tfskin.datasets.sources import phantom_artefacts as artefacts
from tfskin.datasets.sources.phantom_lesion import (
    SKIN_COLORS,
    Array,
    Frame,
    Traits,
    View,
    draw_lesion,
    draw_skin,
    draw_traits,
)
from tfskin.errors import UserError
from tfskin.files import replace_folder
from tfskin.locks import only_writer
from tfskin.progress import progress_bar

LICENSE = "CC0-1.0"
ATTRIBUTION = "tfskin phantom generator"
METADATA_NAME = "phantoms.csv"
_WRITTEN = re.compile(rf"{re.escape(METADATA_NAME)}|phantom_\d+_\d+\.jpg")
SITES = ("back", "lower extremity", "upper extremity", "abdomen", "chest", "face", "foot")
_SITE_RATES = (0.28, 0.22, 0.16, 0.14, 0.1, 0.06, 0.04)
_SKIN_TYPE_RATES = (0.1, 0.36, 0.32, 0.14, 0.05, 0.03)
_VIEW_RATES = (0.6, 0.3, 0.1)  # of 1, 2 and 3 images of a lesion
_JPEG_QUALITY = 95

# First word of each random stream's key, after the seed.
_PATIENT, _LESION, _SKIN, _VIEW, _ARTEFACTS = range(5)


@dataclass(frozen=True)
class Patient:
    """Whose lesion it is."""

    number: int
    age: float
    sex: str
    skin_type: str
    lesions: int


@dataclass(frozen=True)
class Lesion:
    """One lesion, with as many views as images were taken of it."""

    number: int
    patient: Patient
    malignant: bool
    site: str
    traits: Traits
    views: int


def read_phantom(path: Path, *, phantom: PhantomOptions | None = None) -> pd.DataFrame:
    """The records of phantoms that are drawn into the folder ``path``; see write_phantoms."""
    return write_phantoms(path, options=phantom)


def write_phantoms(folder: Path | str, *, options: PhantomOptions | None = None) -> pd.DataFrame:
    """Draw phantoms into ``folder`` (JPEG files, and ``phantoms.csv``) and return their records.

    The images imitate dermoscopy after the ABCD rule: asymmetry, border, colours and diameter
    (and the order of the pigment network) of "melanoma" and "nevus" come from overlapping
    distributions. They teach nothing about real skin; they make every command runnable.

    Args:
        folder: a new or empty folder, or one with phantoms alone, which are replaced.
        options: defaults of :class:`PhantomOptions` unless given.

    Raises:
        UserError: the folder holds something else.

    Reference:
        Stolz et al., "ABCD rule of dermatoscopy", European Journal of Dermatology 4 (1994):
        what is drawn, not how much of it.
    """
    options = options or PhantomOptions()
    folder = Path(folder).absolute()
    if folder.exists() and not _may_replace(folder):
        raise UserError(f"{folder}: holds something other than phantoms; give a new folder")
    rows = []
    lesions = list(plan_lesions(options))
    total = sum(lesion.views for lesion in lesions)
    with (
        only_writer(folder),
        replace_folder(folder, overwrite=True) as temporary,
        progress_bar("drawing phantoms", total=total) as advance,
    ):
        for lesion in lesions:
            for view in range(lesion.views):
                name = f"phantom_{lesion.number:06d}_{view}"
                image = draw_phantom(lesion, view, options)
                image.save(temporary / f"{name}.jpg", quality=_JPEG_QUALITY, subsampling="4:4:4")
                rows.append(_describe(lesion, name))
                advance(1)
        table = pd.DataFrame(rows)
        table.to_csv(temporary / METADATA_NAME, index=False)
    table["path"] = [str(folder / name) for name in table["path"]]
    return build_records({str(name): table[name] for name in table}, source=str(folder))


def plan_lesions(options: PhantomOptions) -> Iterator[Lesion]:
    """The lesions in order; the first n are the same whatever their number."""
    number = patient_number = 0
    while number < options.lesions:
        patient = _draw_patient(options.seed, patient_number)
        for _ in range(min(patient.lesions, options.lesions - number)):
            yield _draw_lesion_plan(options, number, patient)
            number += 1
        patient_number += 1


def draw_phantom(lesion: Lesion, view: int, options: PhantomOptions) -> Image.Image:
    """The image of one view of a lesion: a pure function of the seed, lesion and view."""
    rng = np.random.default_rng([options.seed, _VIEW, lesion.number, view])
    taken = _draw_view(rng)
    frame = Frame(taken, options.image_size)
    skin_rng = np.random.default_rng([options.seed, _SKIN, lesion.number])
    image = draw_lesion(draw_skin(skin_rng, frame, lesion.patient.skin_type), frame, lesion.traits)
    image = _light(image, taken)
    image = _add_artefacts(image, lesion, view, options)
    return artefacts.develop(image, rng, blur=taken.blur, noise=taken.noise)


def _add_artefacts(image: Array, lesion: Lesion, view: int, options: PhantomOptions) -> Array:
    rng = np.random.default_rng([options.seed, _ARTEFACTS, lesion.number, view])
    for rate, add in (
        (options.hair, artefacts.add_hair),
        (options.ruler, artefacts.add_ruler),
        (options.sticker, artefacts.add_sticker),
        (options.dark_corners, artefacts.add_dark_corners),
    ):
        if options.artefacts and rng.random() < rate:
            image = add(image, rng)
    return image


def _light(image: Array, view: View) -> Array:
    height, width = image.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    shade = 1 + np.float32(view.light[0]) * x + np.float32(view.light[1]) * y
    shade -= 0.06 * (x * x + y * y)
    return image * shade[..., None] * np.array(view.gains, np.float32)


def _draw_view(rng: np.random.Generator) -> View:
    brightness = rng.normal(1.02, 0.06)
    gains = brightness * (1 + rng.normal(0, 0.018, 3))
    return View(
        angle=float(rng.uniform(0, 2 * np.pi)),
        zoom=float(np.exp(rng.normal(0, 0.06))),
        shift=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.04))),
        gains=(float(gains[0]), float(gains[1]), float(gains[2])),
        light=(float(rng.normal(0, 0.04)), float(rng.normal(0, 0.04))),
        blur=float(rng.uniform(0.3, 0.8)),
        noise=float(rng.uniform(1, 4)),
    )


def _draw_patient(seed: int, number: int) -> Patient:
    rng = np.random.default_rng([seed, _PATIENT, number])
    age = 5 * round(float(np.clip(rng.normal(48, 17), 15, 90)) / 5)
    return Patient(
        number=number,
        age=float(age),
        sex="female" if rng.random() < 0.48 else "male",
        skin_type=str(rng.choice(list(SKIN_COLORS), p=_SKIN_TYPE_RATES)),
        lesions=1 + int(min(rng.poisson(0.9), 5)),
    )


def _draw_lesion_plan(options: PhantomOptions, number: int, patient: Patient) -> Lesion:
    rng = np.random.default_rng([options.seed, _LESION, number])
    fraction = options.melanoma_fraction
    odds = fraction / (1 - fraction) * np.exp(0.025 * (patient.age - 48))
    malignant = bool(rng.random() < odds / (1 + odds))
    return Lesion(
        number=number,
        patient=patient,
        malignant=malignant,
        site=str(rng.choice(SITES, p=_SITE_RATES)),
        views=1 + int(rng.choice(len(_VIEW_RATES), p=_VIEW_RATES)),
        traits=draw_traits(rng, malignant=malignant, separation=options.separation),
    )


def _describe(lesion: Lesion, name: str) -> dict[str, object]:
    return {
        "image_id": name,
        "path": f"{name}.jpg",
        "diagnosis": "melanoma" if lesion.malignant else "nevus",
        "lesion_id": f"lesion_{lesion.number:06d}",
        "patient_id": f"patient_{lesion.patient.number:06d}",
        "age": lesion.patient.age,
        "sex": lesion.patient.sex,
        "site": lesion.site,
        "image_type": "dermoscopic",
        "fitzpatrick": lesion.patient.skin_type,
        "license": LICENSE,
        "attribution": ATTRIBUTION,
        "source": "phantom",
    }


def _may_replace(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return all(_WRITTEN.fullmatch(path.name) for path in folder.iterdir())
