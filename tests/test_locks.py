"""One writer at a time, in real processes."""

import os
import re
import threading
from pathlib import Path

import pytest

from tests.holding import another_writer
from tfskin.errors import UserError
from tfskin.files import replace_folder, write_text
from tfskin.locks import lock_path, only_writer

AWKWARD = "a [1] {x} ü %41 'q'"


def names_within(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["run", AWKWARD, "ü" * 127, "x" * 255, "deep/run"])
def test_a_second_process_is_refused_in_a_line_that_names_the_first(tmp_path, name):
    path = tmp_path / name
    with another_writer(path) as process:
        with pytest.raises(UserError) as caught, only_writer(path):
            pass
        said = rf"process {process.pid} has been writing it since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d"
        assert re.search(said, str(caught.value))
        assert str(path) in str(caught.value)
    with only_writer(path):
        pass
    assert names_within(tmp_path) == []


def test_a_killed_holder_holds_nobody_up(tmp_path):
    with another_writer(tmp_path / "run") as process:
        process.kill()
        process.wait()
        assert lock_path(tmp_path / "run").exists()
        with only_writer(tmp_path / "run"):
            assert str(os.getpid()) in lock_path(tmp_path / "run").read_text()
    assert names_within(tmp_path) == []


def test_one_waits_for_another_where_it_is_told_to(tmp_path):
    with another_writer(tmp_path / "models.config") as process:
        timer = threading.Timer(0.2, process.kill)
        timer.start()
        with only_writer(tmp_path / "models.config", wait=60):
            assert process.wait()
        timer.join()


def test_a_thread_may_hold_what_it_holds_only_where_it_says_so(tmp_path):
    with only_writer(tmp_path / "run"):
        with only_writer(tmp_path / "run", nested=True):
            pass
        assert lock_path(tmp_path / "run").exists()
        alone = only_writer(tmp_path / "run")
        with pytest.raises(UserError, match="this process writes it already"), alone:
            pass
        refused: list[str] = []

        def other() -> None:
            try:
                with only_writer(tmp_path / "run", nested=True):
                    pass
            except UserError as error:
                refused.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert refused


def test_a_link_and_its_folder_are_one(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    here = only_writer(tmp_path / "run")
    with another_writer(tmp_path / "link"), pytest.raises(UserError, match="been writing"), here:
        pass


def test_what_a_killed_writer_left_is_cleared_and_what_is_anothers_stays(tmp_path):
    write_text(tmp_path / "run" / "old", "old")
    left = [
        "run/checkpoints/.writing-epoch-1.npz-ab_c1234.npz",
        "run/.writing-abcdefgh.json",
        ".writing-run-abcdefgh/model.keras",
        ".old-run-abcdefgh/older",
    ]
    stays = [
        ".writing-runs-abcdefgh/model.keras",
        ".writing-run-2-abcdefgh/model.keras",
        "run/.writing a letter.txt",
        "run/inner/.writing-x.csv-abcdefgh.csv",
    ]
    with another_writer(tmp_path / "run" / "inner"):
        for name in [*left, *stays]:
            write_text(tmp_path / name, "x")
        for path in tmp_path.rglob("*"):
            os.utime(path, (1e9, 1e9))
        with only_writer(tmp_path / "run"):
            pass
    found = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert not set(left) & set(found)
    assert set(stays) <= set(found)
    assert (tmp_path / "run" / "old").read_text() == "old"


def test_a_folder_that_a_killed_writer_moved_away_is_put_back(tmp_path, monkeypatch):
    target = tmp_path / "run"
    write_text(target / "old", "old")
    rename = Path.replace

    def die(path, to):
        if path.name.startswith(".writing-run-"):
            raise KeyboardInterrupt
        return rename(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt), replace_folder(target, overwrite=True):
            pass
    assert not target.exists()
    with only_writer(target):
        assert (target / "old").read_text() == "old"
    assert names_within(tmp_path) == ["run", "run/old"]
