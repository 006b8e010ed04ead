import os

import numpy as np
import pytest

from tests.datasets.photographs.scenes import make_skin
from tfskin.datasets.photographs import store
from tfskin.datasets.photographs.features import Features, extract_features, read_features
from tfskin.errors import UserError


@pytest.fixture
def paths(tmp_path, monkeypatch) -> list[str]:
    """Five small images; a file of features holds two."""
    monkeypatch.setattr(store, "PART_IMAGES", 2)
    (tmp_path / "images").mkdir()
    found = [tmp_path / "images" / f"{seed}.png" for seed in range(5)]
    for seed, path in enumerate(found):
        make_skin(seed, (80, 60)).save(path)
    return [str(path) for path in found]


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The paths whose features were extracted."""
    seen: list[str] = []

    def spy(path: str) -> Features:
        seen.append(path)
        return read_features(path)

    monkeypatch.setattr(store, "read_features", spy)
    return seen


def same(one: Features, other: Features) -> bool:
    names = ("descriptors", "places", "scales", "angles", "thumbnail")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_features_come_back_as_they_were(paths, tmp_path):
    found = store.store_features(paths, tmp_path / "cache", workers=2)
    assert len(found) == 5
    for place, features in enumerate(found):
        assert same(features, extract_features(make_skin(place, (80, 60))))
    with pytest.raises(IndexError):
        found[5]


def test_a_second_search_reads_no_image(paths, tmp_path, read):
    store.store_features(paths, tmp_path / "cache", workers=1)
    assert sorted(read) == paths
    read.clear()
    assert same(store.store_features(paths, tmp_path / "cache")[4], read_features(paths[4]))
    assert read == []


def test_a_stopped_search_goes_on(paths, tmp_path, monkeypatch, read):
    with monkeypatch.context() as patch:

        def stop(path: str) -> Features:
            if path == paths[3]:
                raise KeyboardInterrupt
            return read_features(path)

        patch.setattr(store, "read_features", stop)
        with pytest.raises(KeyboardInterrupt):
            store.store_features(paths, tmp_path / "cache", workers=1)
    # Images come in eights, more than these: nothing was written yet, and nothing half.
    assert not list((tmp_path / "cache").glob(".writing*")) if (tmp_path / "cache").exists() else 1
    store.store_features(paths[:2], tmp_path / "cache", workers=1)
    read.clear()
    store.store_features(paths, tmp_path / "cache", workers=1)
    assert sorted(read) == paths[2:]


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "another"])
def test_damaged_files_are_made_again(paths, tmp_path, read, damage):
    store.store_features(paths, tmp_path / "cache", workers=1)
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 3
    whole = files[0].read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:5000] + bytes([whole[5000] ^ 255]) + whole[5001:],
        "emptied": b"",
        "another": b"no features at all" * 100,
    }
    files[0].write_bytes(damaged[damage])
    read.clear()
    found = store.store_features(paths, tmp_path / "cache", workers=1)
    assert len(read) in (1, 2)
    assert files[0].read_bytes() == whole
    assert all(same(found[place], read_features(paths[place])) for place in range(5))


def test_a_changed_image_is_read_again(paths, tmp_path, read):
    store.store_features(paths, tmp_path / "cache", workers=1)
    make_skin(99, (80, 60)).save(paths[4])
    os.utime(paths[4], ns=(1, 1))
    read.clear()
    found = store.store_features(paths, tmp_path / "cache", workers=1)
    assert read == [paths[4]]
    assert same(found[4], extract_features(make_skin(99, (80, 60))))


def test_images_that_cannot_be_read_are_named(paths, tmp_path):
    with pytest.raises(UserError, match=r"gone\.png: cannot be read: No such file"):
        store.store_features([*paths, str(tmp_path / "gone.png")], tmp_path / "cache")
    (tmp_path / "broken.png").write_bytes(b"?")
    with pytest.raises(UserError, match=r"broken\.png: is no image"):
        store.store_features([*paths, str(tmp_path / "broken.png")], tmp_path / "cache")


def test_a_folder_that_cannot_be_written_is_named(paths, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file: features can't be written"):
        store.store_features(paths, tmp_path / "file")


def test_no_images_at_all(tmp_path):
    assert len(store.store_features([], tmp_path / "cache")) == 0
