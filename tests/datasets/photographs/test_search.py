from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.datasets.photographs.scenes import (
    lay_ruler,
    lay_vignette,
    make_skin,
    photograph_again,
)
from tfskin.datasets.photographs import search
from tfskin.datasets.photographs.features import extract_features
from tfskin.datasets.photographs.probability import REPORTING, SPLITTING
from tfskin.datasets.photographs.search import (
    LINK_COLUMNS,
    SearchOptions,
    find_photographs,
    search_features,
)
from tfskin.errors import UserError

Changes = dict[tuple[int, int], dict[str, Any]]
SCENES: Changes = {(0, 7): {"turn": 65, "zoom": 1.2}, (3, 8): {"turn": -20, "dark": 0.7}}
MIRRORED: Changes = {(5, 9): {"turn": 120, "mirror": True}}


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[str]:
    """Ten images: 7 is 0 again, 8 is 3, and 9 is 5 mirrored."""
    folder = tmp_path_factory.mktemp("images")
    images = [make_skin(seed) for seed in range(7)]
    for (first, _), change in {**SCENES, **MIRRORED}.items():
        images.append(photograph_again(images[first], **change)[0])
    for place, image in enumerate(images):
        image.save(folder / f"{place}.png")
    return [str(folder / f"{place}.png") for place in range(len(images))]


@pytest.fixture(scope="module")
def links(paths) -> pd.DataFrame:
    return find_photographs(paths, workers=1)


def linked(links: pd.DataFrame, threshold: float) -> set[tuple[int, int]]:
    above = links[links["probability"] >= threshold]
    return set(zip(above["first"], above["second"], strict=True))


def test_second_photographs_are_linked_and_nothing_else(links):
    assert linked(links, REPORTING) == {*SCENES, *MIRRORED}
    assert linked(links, SPLITTING) == {*SCENES, *MIRRORED}


def test_links_say_how_one_image_lies_over_the_other(links):
    rows = links.set_index(["first", "second"])
    for pair, change in {**SCENES, **MIRRORED}.items():
        row = rows.loc[pair]
        assert row["turn"] == pytest.approx(change["turn"], abs=1)
        assert row["zoom"] == pytest.approx(change.get("zoom", 1), rel=0.02)
        assert row["mirrored"] == change.get("mirror", False)


def test_the_frame_of_links(links):
    assert tuple(links.columns) == LINK_COLUMNS
    assert links["first"].dtype == links["second"].dtype == links["inliers"].dtype == np.int64
    assert links["mirrored"].dtype == bool
    assert (links["first"] < links["second"]).all()
    assert links["probability"].between(0, 1).all()
    assert not links.duplicated(["first", "second"]).any()
    pd.testing.assert_frame_equal(links, links.sort_values(["first", "second"]))


def test_the_number_of_workers_and_the_cache_mean_nothing(paths, links, tmp_path):
    pd.testing.assert_frame_equal(find_photographs(paths, workers=3, cache=tmp_path), links)
    pd.testing.assert_frame_equal(find_photographs(paths, workers=2, cache=tmp_path), links)
    assert len(list(tmp_path.iterdir())) == 1


def test_mirrored_ones_may_be_left_out(paths):
    found = find_photographs(paths, options=SearchOptions(nearest_mirrored=0), workers=1)
    assert linked(found, SPLITTING) == set(SCENES)


def test_unrelated_images_under_one_ruler_or_vignette_are_not_linked():
    ruled = [
        lay_ruler(make_skin(20 + seed, contrast=0.25), top=200 + seed % 3 * 10)
        for seed in range(12)
    ]
    framed = [lay_vignette(make_skin(40 + seed, contrast=0.25)) for seed in range(6)]
    again = [lay_ruler(photograph_again(make_skin(0), turn=turn)[0], top=210) for turn in (0, 50)]
    images = [extract_features(image) for image in [*ruled, *framed, *again]]
    found = search_features(images, workers=1)
    assert len(found) > 5  # what they share is seen, and isn't enough
    assert linked(found, SPLITTING) == {(18, 19)}
    assert linked(found, REPORTING) == {(18, 19)}


def test_friends_are_pairs_that_a_third_image_joins():
    links = pd.DataFrame(
        {"first": [0, 1, 3, 5], "second": [1, 2, 4, 6], "probability": [0.9, 0.8, 0.9, 0.1]}
    )
    known = links[["first", "second"]].to_numpy()
    assert search._pair_friends(links, known).tolist() == [[0, 2]]
    assert search._pair_friends(links, np.array([[0, 2]])).tolist() == []
    assert search._pair_friends(links.iloc[:0], known).shape == (0, 2)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images_and_images_without_features(tmp_path, count):
    plain = Image.new("RGB", (40, 30), (200, 160, 150))
    paths = [str(tmp_path / f"{place}.png") for place in range(count)]
    for path in paths:
        plain.save(path)
    found = find_photographs(paths, workers=1)
    assert len(found) == 0
    assert tuple(found.columns) == LINK_COLUMNS


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "note.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"note\.jpg: is no image"):
        find_photographs([str(tmp_path / "note.jpg")])
