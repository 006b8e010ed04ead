import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.datasets.sources.images import write_images
from tfskin.datasets.options import SourceOptions
from tfskin.datasets.records import RECORD_COLUMNS
from tfskin.datasets.sources import read_records
from tfskin.datasets.sources.contract import check_source
from tfskin.datasets.sources.image_folder import _class_of_name
from tfskin.errors import UserError


def read(folder, prefixes=None):
    return read_records("image_folder", folder, options=SourceOptions(prefixes=prefixes))


def test_class_folders(tmp_path):
    write_images(tmp_path, ["mel/1.jpg", "nevus/1.jpg", "nevus/deep/er/2.png", "nevus/.3.jpg"])
    (tmp_path / "nevus" / "notes.txt").write_text("not an image")
    (tmp_path / "empty").mkdir()
    write_images(tmp_path, ["__MACOSX/x/1.jpg", ".cache/1.jpg"])
    records = check_source("image_folder", tmp_path)
    assert records["image_id"].tolist() == ["mel__1", "nevus__1", "nevus__deep__er__2"]
    assert records["diagnosis"].tolist() == ["mel", "nevus", "nevus"]
    assert list(records.columns) == RECORD_COLUMNS


def test_split_folders_give_a_split(tmp_path):
    names = [
        "train/benign/1.jpg",
        "train/malignant/2.jpg",
        "test/benign/1.jpg",
        "Valid/benign/4.jpg",
    ]
    write_images(tmp_path, names)
    records = read(tmp_path).set_index("image_id")
    assert records["split"].to_dict() == {
        "train__benign__1": "train",
        "train__malignant__2": "train",
        "test__benign__1": "test",
        "Valid__benign__4": "val",
    }
    assert set(records["diagnosis"]) == {"benign", "malignant"}


def test_the_class_may_begin_the_files_name(tmp_path):
    write_images(tmp_path, ["P0001.jpg", "N0001.jpg", "H0002.jpg", "melanoma_3.jpg", "nv-4.jpg"])
    records = read(tmp_path)
    assert records["diagnosis"].tolist() == ["H", "N", "P", "melanoma", "nv"]
    assert records["image_id"].iloc[0] == "H0002"


def test_the_longest_prefix_wins(tmp_path):
    write_images(tmp_path, ["P1.jpg", "PN1.jpg", "H1.jpg"])
    records = read(tmp_path, {"P": "positive", "PN": "negative", "H": "negative"})
    assert records["diagnosis"].tolist() == ["negative", "positive", "negative"]


def test_split_folders_may_hold_named_images(tmp_path):
    write_images(tmp_path, ["train/a1.jpg", "test/b2.jpg"])
    records = read(tmp_path)
    assert records["diagnosis"].tolist() == ["b", "a"]
    assert records["split"].tolist() == ["test", "train"]


@pytest.mark.parametrize(
    ("names", "prefixes", "words"),
    [
        ([], None, "there is no image in it"),
        (["a/1.jpg", "b/1.jpg", "stray.jpg"], None, r"stray\.jpg: lies beside class folders"),
        (["train/a/1.jpg", "stray.jpg"], None, r"stray\.jpg: lies beside split folders"),
        (["train/a/1.jpg", "nevus/1.jpg"], None, "folder 'nevus' lies beside the split folder"),
        (["data/a/1.jpg", "data/b/1.jpg"], None, "all images are of one class, 'data'"),
        (["ISIC_1.jpg", "ISIC_2.jpg"], None, "all images are of one class, 'ISIC'"),
        (["001.jpg", "a_1.jpg"], None, r"001\.jpg: its name does not begin with a class"),
        (["a.jpg", "b_1.jpg"], None, r"a\.jpg: its name does not begin with a class"),
        (["P1.jpg", "Q1.jpg"], {"P": "p"}, r"Q1\.jpg: its name begins with none of .*'P'"),
        (["a/P1.jpg", "b/Q1.jpg"], {"P": "p"}, "its images are in class folders"),
        (["a/1.jpg", "a/1.png", "b/1.jpg"], None, "'a__1' stands in more than one row"),
    ],
)
def test_a_folder_that_cannot_be_read_is_explained(tmp_path, names, prefixes, words):
    write_images(tmp_path, names)
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path, prefixes)
    assert "\n" not in str(error.value)


def test_a_file_is_no_folder(tmp_path):
    write_images(tmp_path, ["a.jpg"])
    with pytest.raises(UserError, match=r"a\.jpg: not a folder"):
        read(tmp_path / "a.jpg")


def test_links_are_followed_but_not_in_circles(tmp_path):
    write_images(tmp_path / "store", ["1.jpg"])
    write_images(tmp_path / "root", ["b/2.jpg"])
    (tmp_path / "root" / "a").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "up").symlink_to(tmp_path / "store")
    assert read(tmp_path / "root")["image_id"].tolist() == ["a__1", "b__2"]


@settings(deadline=None)
@given(
    label=st.from_regex(r"[^\W\d_]{1,10}", fullmatch=True),
    rest=st.from_regex(r"[0-9_-][A-Za-z0-9_-]{0,8}", fullmatch=True),
)
def test_any_letters_before_a_digit_or_dash_are_a_class(tmp_path_factory, label, rest):
    assert _class_of_name(tmp_path_factory.getbasetemp() / f"{label}{rest}.jpg", None) == label


def test_images_are_known_by_what_is_in_them_and_masks_are_none(tmp_path, news):
    names = ["nv/1.jpg", "nv/2.jpg", "nv/3.jpg", "mel/4.jpg", "nv/1_segmentation.png"]
    write_images(tmp_path, names)
    for old, new in (("nv/1.jpg", "nv/1.jfif"), ("nv/2.jpg", "nv/2.jpe"), ("nv/3.jpg", "nv/3")):
        (tmp_path / old).rename(tmp_path / new)
    (tmp_path / "nv" / "notes.txt").write_text("no image")
    records = read(tmp_path)
    assert records["image_id"].tolist() == ["mel__4", "nv__1", "nv__2", "nv__3"]
    assert news == [
        f"{tmp_path}: left out 2 of 6 files: 1 masks or superpixels, 1 no readable image (.txt)"
    ]


def test_split_folders_that_write_a_class_in_two_ways_have_one(tmp_path, news):
    names = [f"{split}/{name}/{split}{name}.jpg" for split in ("train", "test") for name in "AB"]
    write_images(tmp_path, [name.lower() if "test" in name else name for name in names])
    assert set(read(tmp_path)["diagnosis"]) == {"a", "b"}
    assert "taken as one" in news[0]


def test_an_image_of_the_archive_in_train_and_test_is_linked(tmp_path):
    write_images(tmp_path, ["train/a/ISIC_0000001.jpg", "train/b/2.jpg", "test/a/ISIC_0000001.jpg"])
    records = read(tmp_path).set_index("split")
    assert set(records.loc[records["image_id"].str.contains("ISIC"), "link"]) == {"ISIC_0000001"}


def test_a_folder_without_images_says_what_is_in_it(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.dcm").write_text("DICM")
    with pytest.raises(
        UserError, match=r"no image in it \(left out 1 of 1 files: 1 no readable image"
    ):
        read(tmp_path)


def test_small_copies_of_an_image_of_the_archive_are_left_out(tmp_path, news):
    write_images(tmp_path, ["mel/1.jpg", "nv/p1/1.jpg", "nv/p2/1.jpg", "nv/32x32/ISIC_0000001.jpg"])
    (tmp_path / "nv" / "full").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "nv" / "full" / "ISIC_0000001.png")
    ids = ["mel__1", "nv__full__ISIC_0000001", "nv__p1__1", "nv__p2__1"]
    assert read(tmp_path)["image_id"].tolist() == ids
    assert news == [f"{tmp_path}: left out 1 of 5 files: 1 smaller or further copies"]
