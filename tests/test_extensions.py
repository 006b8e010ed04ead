"""A user's own parts: where they are found, and what is said when they are not."""

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfskin import UserError
from tfskin.extensions import LOSS, NETWORK, check_part_name, load_part, part_module

TABLE = {"five_layer": print, "lenet": len}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the user's in the working directory."""
    path = tmp_path / "my_parts.py"
    path.write_text(
        "def build(*, image_size, num_classes, width=8):\n    return width\n"
        "def wrong(size):\n    return size\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield path
    sys.modules.pop("my_parts", None)


def test_a_name_of_the_table_is_its_part():
    assert load_part("lenet", TABLE, NETWORK) is len
    assert part_module("lenet", NETWORK) is None


def test_a_function_of_a_module_in_the_working_directory(own):
    build = load_part("my_parts:build", TABLE, NETWORK)
    assert build(image_size=(8, 8), num_classes=2) == 8
    assert part_module("my_parts:build", NETWORK) == "my_parts"


def test_an_entry_point_is_found_by_its_name(own, monkeypatch):
    entry = importlib.metadata.EntryPoint("mine", "my_parts:build", NETWORK.group)
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda **wish: importlib.metadata.EntryPoints([entry]).select(**wish),
    )
    assert load_part("mine", TABLE, NETWORK)(image_size=(8, 8), num_classes=2) == 8
    assert part_module("mine", NETWORK) == "my_parts"
    assert check_part_name("mine", TABLE, NETWORK) == "mine"
    with pytest.raises(UserError, match="known: five_layer, lenet, mine; or write"):
        load_part("other", TABLE, NETWORK)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lenett", "no network 'lenett' .did you mean 'lenet'.*package.module:function"),
        ("no_such_module:build", "no module 'no_such_module'; install the package"),
        ("my_parts:bild", "'my_parts' has no 'bild' .did you mean 'build'"),
        ("my_parts:number", "is int and cannot be called"),
        (
            "my_parts:wrong",
            "image_size=..., num_classes=....*: missing a required argument: 'size'",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(own, name, said):
    with pytest.raises(UserError, match=f"^model.name: .*{said}") as error:
        load_part(name, TABLE, NETWORK)
    assert "\n" not in str(error.value)


def test_a_module_that_fails_when_it_is_imported(own):
    own.write_text("raise ValueError('no licence\\nfound')")
    with pytest.raises(UserError, match=r"^train.loss: .*failed: ValueError: no licence$"):
        load_part("my_parts:build", {}, LOSS)
