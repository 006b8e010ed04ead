import io
import os

import numpy as np
import pytest
from PIL import Image

from tests.datasets.sources.images import write_images
from tfskin.datasets.finding import LeftOut, is_image_file, list_images, walk_images
from tfskin.datasets.sources.images import data_folder, index_images, index_places
from tfskin.datasets.sources.metadata import Metadata, read_metadata
from tfskin.errors import UserError


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((9, 12, 3), np.uint8)).save(stream, kind)
    return stream.getvalue()


def names_below(folder, left_out=None) -> list[str]:
    found = walk_images(folder, left_out if left_out is not None else LeftOut())
    return [path.relative_to(folder).as_posix() for path in found]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("name", ["x", "x.dat", "x.2024", "x.JFIF"])
def test_an_image_is_known_by_what_is_in_it(kind, name, tmp_path):
    (tmp_path / name).write_bytes(encoded(kind))
    assert is_image_file(tmp_path / name)


@pytest.mark.parametrize(
    "text", [b"", b"BMW is a make of cars", b"%PDF-1.7", b"RIFFxxxxWAVE", b"M"]
)
def test_other_files_are_none(text, tmp_path):
    (tmp_path / "x").write_bytes(text)
    assert not is_image_file(tmp_path / "x")


def test_a_damaged_image_stays_an_image(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"<html>")
    assert is_image_file(tmp_path / "x.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not is_image_file(tmp_path / "pipe")


def test_what_is_left_out_is_counted_with_its_reason(tmp_path):
    write_images(tmp_path, ["a.jpg", "a_segmentation.png", "b_mask.png", "b.png", "._b.png"])
    for name in ("notes.txt", "README", "labels.csv", ".DS_Store"):
        (tmp_path / name).write_text("text")
    left_out = LeftOut()
    assert names_below(tmp_path, left_out) == ["a.jpg", "b.png"]
    assert left_out.describe() == (
        "left out 5 of 7 files: 1 hidden, 2 masks or superpixels, "
        "2 no readable image (.txt, without a suffix)"
    )
    assert list_images(tmp_path) == [tmp_path / "a.jpg", tmp_path / "b.png"]


def test_nothing_is_said_where_nothing_is_left_out(tmp_path, news):
    write_images(tmp_path, ["a.jpg"])
    left_out = LeftOut()
    assert names_below(tmp_path, left_out) == ["a.jpg"]
    left_out.say(tmp_path)
    assert news == []


def test_linked_folders_are_entered_once(tmp_path):
    write_images(tmp_path / "elsewhere", ["x.jpg"])
    write_images(tmp_path / "data", ["a.jpg"])
    for name in ("first", "second"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data")
    left_out = LeftOut()
    assert names_below(tmp_path / "data", left_out) == ["a.jpg", "first/x.jpg"]
    assert "2 links to folders that were searched already" in left_out.describe()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(UserError, match="closed: cannot be read"):
        names_below(tmp_path)


def rows_of(tmp_path, *ids: str) -> Metadata:
    (tmp_path / "t.csv").write_text("\n".join(["id", *ids]))
    return read_metadata(tmp_path / "t.csv")


def test_the_original_is_taken_before_its_small_copies(tmp_path, news):
    for folder, side in (("32x32", 32), ("originals", 64), ("zoom", 48)):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (side, side)).save(tmp_path / folder / "x.jpg")
    write_images(tmp_path, ["originals/unused.png"])
    known = index_images(tmp_path)
    metadata = rows_of(tmp_path, "x")
    assert known.take(metadata, metadata.rows["id"]) == [str(tmp_path / "originals" / "x.jpg")]
    known.say()
    assert news == [
        f"{tmp_path} or below: left out 3 of 4 files: 2 smaller or further copies, 1 without a row"
    ]


def test_copies_of_one_size_are_taken_in_order(tmp_path):
    write_images(tmp_path, ["b/x.jpg", "a/x.jpg"])
    metadata = rows_of(tmp_path, "x")
    known = index_places(tmp_path, ["b", "a"])
    assert known.take(metadata, metadata.rows["id"]) == [str(tmp_path / "b" / "x.jpg")]


@pytest.mark.parametrize("name", ["X.JPG", "x.jfif", "x", "X.png"])
@pytest.mark.parametrize("image_id", ["x", "X", "x.jpg", "x.PNG"])
def test_an_id_finds_its_image_however_both_are_spelt(name, image_id, tmp_path):
    (tmp_path / name).write_bytes(encoded("PNG"))
    metadata = rows_of(tmp_path, image_id)
    assert index_images(tmp_path).take(metadata, metadata.rows["id"]) == [str(tmp_path / name)]


def test_an_id_that_fits_two_images_in_another_case_finds_none(tmp_path):
    write_images(tmp_path, ["ab.jpg", "aB.jpg"])
    metadata = rows_of(tmp_path, "AB")
    with pytest.raises(UserError, match="line 2: no image of 'AB'"):
        index_images(tmp_path).take(metadata, metadata.rows["id"])


def test_a_table_in_a_folder_of_its_own_is_of_the_folder_above(tmp_path):
    write_images(tmp_path, ["input/x.jpg"])
    for name in ("X_GroundTruth", "input"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "t.csv").write_text("x")
    assert data_folder(tmp_path) == tmp_path
    assert data_folder(tmp_path / "X_GroundTruth" / "t.csv") == tmp_path
    assert data_folder(tmp_path / "input" / "t.csv") == tmp_path / "input"
