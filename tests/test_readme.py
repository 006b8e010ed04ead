"""What README and docstrings show, run as a reader would."""

import doctest
import inspect
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

import tfskin
from tfskin.cli.flags import expand
from tfskin.config import find_config

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def workplace(tmp_path, monkeypatch, phantom_shards):
    """An empty folder with small phantoms in place of the 800 lesions, and one image."""
    (tmp_path / "tfrecords" / "phantom").mkdir(parents=True)
    (tmp_path / "tfrecords" / "phantom" / "1.0.0").symlink_to(phantom_shards)
    Image.new("RGB", (64, 48), (190, 140, 110)).save(tmp_path / "lesion.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_python_of_the_readme_runs(workplace, capsys):
    for block in blocks("python"):
        exec(compile(block, str(README), "exec"), {})
    assert "probability" in capsys.readouterr().out
    assert (workplace / "exports" / "first" / "1" / "saved_model.pb").is_file()


def test_docstring_examples_run(workplace):
    (workplace / "tfrecords" / "phantom" / "1.0.0").unlink()
    (workplace / "tfrecords" / "phantom").rmdir()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    tests = doctest.DocTestFinder(recurse=False)
    order = [
        "audit",
        "prepare",
        "load_shards",
        "make_dataset",
        "build_model",
        "read_config",
        "train",
    ]
    order += ["ensemble", "evaluate", "compare", "explain", "export", "predict"]
    output: list[str] = []
    names = {"tfskin": tfskin}
    for name in order:
        function = getattr(tfskin, name)
        found = tests.find(function, name, globs=dict(names))
        assert found, f"tfskin.{name} has no example"
        assert found[0].examples, f"tfskin.{name} has no example"
        result = runner.run(found[0], out=output.append)
        assert result.failed == 0, "".join(output)


def commands() -> list[list[str]]:
    lines = [line.partition("  #")[0] for block in blocks("") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("tfskin-")]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_commands_of_the_readme_exist_with_their_options(words):
    command = words[0].removeprefix("tfskin-").replace("-", "_")
    module = import_module(f"tfskin.cli.{command}")
    function = next(f for name, f in vars(module).items() if name.endswith("_command"))
    known = set(inspect.signature(expand(function, everywhere={})).parameters)
    for word in words[1:]:
        if word.startswith("--"):
            assert word[2:].replace("-", "_") in known, word
        if word.endswith(".yaml"):
            assert find_config(word).is_file()


def test_the_readme_shows_commands_and_names_no_missing_file():
    assert len(commands()) >= 8
    text = README.read_text(encoding="utf-8")
    for path in set(re.findall(r"(?:configs|scripts|tfrecords)/[\w./]+\.(?:yaml|sh|md|py)", text)):
        assert (README.parent / path).is_file(), path
    assert sys.version_info[:2] in {(3, 11), (3, 12), (3, 13)}
