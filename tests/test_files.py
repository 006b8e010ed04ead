from pathlib import Path

import pytest

from tfskin.files import (
    read_json,
    replace_file,
    replace_folder,
    write_json,
    write_text,
)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "one")
    write_text(path, "zwölf")
    assert path.read_text(encoding="utf-8") == "zwölf"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(FileNotFoundError), replace_file(path) as temporary:
        temporary.write_text((tmp_path / "missing").read_text())
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_leaves_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError), replace_folder(tmp_path / "new") as temporary:
        (temporary / "missing" / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_only_when_asked(tmp_path):
    target = tmp_path / "folder"
    for content in ("one", "two"):
        with replace_folder(target, overwrite=True) as temporary:
            (temporary / content).write_text(content)
    assert [p.name for p in target.iterdir()] == ["two"]
    with pytest.raises(FileExistsError), replace_folder(target):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def fail_the_second_rename(monkeypatch, error):
    rename = Path.replace

    def fail(path, target):
        if path.name.startswith(".writing-"):
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", fail)


def test_a_folder_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    write_text(target / "old", "old")
    fail_the_second_rename(monkeypatch, OSError("busy"))
    with pytest.raises(OSError, match="busy"), replace_folder(target, overwrite=True):
        pass
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "folder",
        "folder/old",
    ]


def test_json_refuses_nan(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"auc": float("nan")})
    assert not path.exists()
    write_json(path, {"auc": None})
    assert read_json(path) == {"auc": None}
