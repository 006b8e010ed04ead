import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.datasets.sources.images import write_images
from tfskin.datasets.options import PhantomOptions, SourceOptions
from tfskin.datasets.records import RECORD_COLUMNS
from tfskin.datasets.sources import read_records
from tfskin.datasets.sources.phantom import draw_phantom, plan_lesions, write_phantoms
from tfskin.errors import UserError

SMALL = PhantomOptions(lesions=12, seed=3, image_size=(48, 64))
PLAIN = dataclasses.replace(SMALL, hair=0, ruler=0, sticker=0, dark_corners=0)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "p"
    return folder, write_phantoms(folder, options=SMALL)


def test_records_and_files_agree(written):
    folder, records = written
    assert list(records.columns) == RECORD_COLUMNS
    assert records["lesion_id"].nunique() == 12
    assert set(records["diagnosis"]) == {"melanoma", "nevus"}
    assert set(records["license"]) == {"CC0-1.0"}
    assert sorted(Path(path).name for path in records["path"]) == sorted(
        file.name for file in folder.glob("*.jpg")
    )
    with Image.open(records["path"].iloc[0]) as image:
        assert (image.mode, image.size) == ("RGB", (64, 48))


def test_the_table_beside_the_images_gives_the_same_records(written):
    folder, records = written
    pd.testing.assert_frame_equal(read_records("table", folder), records)


def test_the_same_seed_gives_the_same_bytes(written, tmp_path):
    folder, _ = written
    read_records("phantom", tmp_path / "p", options=SourceOptions(phantom=SMALL))
    assert contents(tmp_path / "p") == contents(folder)


def test_another_seed_gives_other_images(written, tmp_path):
    folder, _ = written
    write_phantoms(tmp_path, options=dataclasses.replace(SMALL, seed=4))
    first = "phantom_000000_0.jpg"
    assert (tmp_path / first).read_bytes() != (folder / first).read_bytes()


def test_fewer_lesions_are_the_beginning_of_more(written, tmp_path):
    folder, _ = written
    write_phantoms(tmp_path, options=dataclasses.replace(SMALL, lesions=5))
    few = contents(tmp_path)
    del few["phantoms.csv"]
    assert few.items() <= contents(folder).items()


def test_a_lesion_has_one_diagnosis_and_one_patient_and_some_have_more_views():
    lesions = list(plan_lesions(dataclasses.replace(SMALL, lesions=300)))
    assert [lesion.number for lesion in lesions] == list(range(300))
    assert {lesion.views for lesion in lesions} == {1, 2, 3}
    patients = {lesion.patient.number: lesion.patient for lesion in lesions}
    assert len(patients) < 300
    assert all(lesion.patient == patients[lesion.patient.number] for lesion in lesions)
    assert 0.25 < np.mean([lesion.malignant for lesion in lesions]) < 0.55


def test_melanoma_patients_are_older_on_average():
    lesions = list(plan_lesions(dataclasses.replace(SMALL, lesions=600)))
    ages = {
        flag: np.mean([x.patient.age for x in lesions if x.malignant == flag]) for flag in (0, 1)
    }
    assert 1 < ages[1] - ages[0] < 15


def test_classes_differ_in_the_abcd_traits_and_overlap():
    lesions = list(plan_lesions(dataclasses.replace(SMALL, lesions=600)))
    for trait in (
        lambda traits: traits.radius,
        lambda traits: traits.outline.std(),
        lambda traits: traits.gradient,
        lambda traits: len(traits.blotches),
    ):
        melanoma = [trait(x.traits) for x in lesions if x.malignant]
        nevus = [trait(x.traits) for x in lesions if not x.malignant]
        assert np.mean(melanoma) > np.mean(nevus)
        assert min(melanoma) < max(nevus)


def test_without_separation_the_traits_say_nothing():
    lesions = plan_lesions(dataclasses.replace(SMALL, lesions=1500, separation=0))
    radius = pd.DataFrame([(x.malignant, np.log(x.traits.radius)) for x in lesions])
    means = radius.groupby(0)[1].mean()
    error = radius[1].std() * np.sqrt((1 / radius[0].value_counts()).sum())
    assert abs(means[True] - means[False]) < 4 * error


def test_artefacts_can_be_turned_off_and_on():
    lesion = next(plan_lesions(PLAIN))
    plain = np.asarray(draw_phantom(lesion, 0, PLAIN), float)
    for name in ("hair", "ruler", "sticker", "dark_corners"):
        rate: dict[str, Any] = {name: 1.0}
        options = dataclasses.replace(PLAIN, **rate)
        changed = np.abs(np.asarray(draw_phantom(lesion, 0, options), float) - plain).max(axis=-1)
        assert 0.001 < (changed > 25).mean() < 0.6, name


def test_views_show_the_same_lesion_differently():
    lesion = next(lesion for lesion in plan_lesions(PLAIN) if lesion.views > 1)
    first, second = (np.asarray(draw_phantom(lesion, view, PLAIN), float) for view in (0, 1))
    assert np.abs(first - second).mean() > 3


def test_every_image_shows_a_lesion_darker_than_the_skin():
    options = dataclasses.replace(PLAIN, image_size=(96, 128), lesions=25)
    darker = []
    for lesion in plan_lesions(options):
        image = np.asarray(draw_phantom(lesion, 0, options), float).mean(-1)
        border = np.concatenate([image[:6].ravel(), image[-6:].ravel()])
        darker.append(np.median(border) - image[38:58, 50:78].mean())
    assert np.mean(np.array(darker) > 8) > 0.9


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    write_images(tmp_path, ["mine.jpg"])
    with pytest.raises(UserError, match="holds something other than phantoms"):
        write_phantoms(tmp_path, options=SMALL)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.jpg"]


def test_a_folder_that_holds_more_than_phantoms_is_left_alone(tmp_path):
    write_phantoms(tmp_path, options=dataclasses.replace(SMALL, lesions=2))
    (tmp_path / "shards").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="holds something other than phantoms"):
        write_phantoms(tmp_path, options=SMALL)
    assert sorted(tmp_path.iterdir()) == before


def test_phantoms_are_replaced_and_no_others_are_left(tmp_path):
    write_phantoms(tmp_path / "p", options=dataclasses.replace(SMALL, lesions=5))
    records = write_phantoms(tmp_path / "p", options=dataclasses.replace(SMALL, lesions=2))
    assert len(list((tmp_path / "p").glob("*.jpg"))) == len(records)
    assert [folder.name for folder in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"lesions": 0},
        {"seed": -1},
        {"image_size": (8, 64)},
        {"melanoma_fraction": 1.0},
        {"separation": -1.0},
        {"hair": 1.5},
    ],
)
def test_a_wrong_option_is_named(wrong):
    with pytest.raises(UserError, match=f"phantom: {next(iter(wrong))} is"):
        PhantomOptions(**wrong)
