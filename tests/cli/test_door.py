"""``tfskin NAME`` is ``tfskin-NAME``, and ``tfskin`` alone shows the way."""

import sys

import pytest

import tfskin
from tfskin.cli import COMMANDS
from tfskin.cli.door import main


@pytest.fixture
def door(monkeypatch, capsys):
    """Run ``tfskin words``: exit code, what it printed, and what it said of errors."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["/usr/bin/tfskin", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_alone_it_shows_the_way_and_every_command_in_80_columns(door, words):
    code, out, _ = door(*words)
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines if line.startswith("  ")} == {"tfskin", *COMMANDS}
    for line in lines:
        if line.startswith("  tfskin "):
            assert line.split()[1] in COMMANDS
    assert all(line.split(maxsplit=1)[1:] for line in lines if line.startswith("  "))


def test_it_hands_over_to_a_command_which_then_has_its_name(door):
    code, out, _ = door("models", "--help")
    assert code == 0
    assert "tfskin models" in out
    code, _, err = door("evaluate", "nowhere")
    assert code == 2
    assert err.startswith("tfskin evaluate: nowhere:")


def test_an_unknown_command_is_one_line(door):
    code, out, err = door("trian", "--quiet")
    assert (code, out) == (2, "")
    assert err == "tfskin: there is no command 'trian' (did you mean 'train'?)\n"


def test_the_version(door):
    assert door("--version") == (0, f"tfskin {tfskin.__version__}\n", "")
