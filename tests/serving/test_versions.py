from tfskin.serving.versions import list_versions, next_version


def test_versions_are_folders_named_by_whole_numbers(tmp_path):
    for name in ("2", "10", "0003", ".writing-11-x", "12a", "²"):
        (tmp_path / name).mkdir()
    (tmp_path / "99").write_text("a file")
    assert list_versions(tmp_path) == [
        (2, tmp_path / "2"),
        (3, tmp_path / "0003"),
        (10, tmp_path / "10"),
    ]
    assert next_version(tmp_path) == 11


def test_a_missing_folder_has_no_versions(tmp_path):
    assert list_versions(tmp_path / "missing") == []
    assert next_version(tmp_path / "missing") == 1
