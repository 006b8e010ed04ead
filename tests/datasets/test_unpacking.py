"""What archives may hold."""

import warnings
import zipfile
from pathlib import Path

import pytest

from tfskin.datasets.unpacking import unpack_archive
from tfskin.errors import UserError


def make_archive(folder: Path, *members: tuple[str, str]) -> Path:
    path = folder / "a.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # Python warns of a name that is written twice
        for name, text in members:
            archive.writestr(name, text)
    return path


def unpack(folder: Path, *members: tuple[str, str]) -> int:
    return unpack_archive(
        make_archive(folder, *members), folder / "unpacked", advance=lambda size: None
    )


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("x.jpg", "one"), ("x.jpg", "two")], "two different files named 'x.jpg'"),
        ([("b/x.jpg", "one"), ("b/./x.jpg", "two")], "two different files named 'b/x.jpg'"),
        ([], "holds no files"),
        ([("empty/", "")], "holds no files"),
        ([("__MACOSX/._x.jpg", "fork")], "holds no files"),
        ([("x", "one"), ("x/y.jpg", "two")], "'x/y.jpg' lies in a file"),
    ],
)
def test_an_archive_that_would_lose_files_or_has_none_is_refused(tmp_path, members, said):
    with pytest.raises(UserError, match=rf"a\.zip: .*{said}"):
        unpack(tmp_path, *members)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_file_that_is_there_twice_counts_once(tmp_path):
    assert unpack(tmp_path, ("x.jpg", "one"), ("b/y.jpg", "two"), ("x.jpg", "one")) == 2
    assert (tmp_path / "unpacked" / "x.jpg").read_text() == "one"
