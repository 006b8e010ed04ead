"""Classes of options as flags: each flag sets its field, and nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytest
import typer

from tfskin.cli.flags import Only, expand
from tfskin.datasets.options import (
    Fractions,
    PhantomOptions,
    PrepareOptions,
    ShardOptions,
    SourceOptions,
)
from tfskin.errors import UserError


def parse(command, *words: str):
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(expand(command, everywhere={}))
    app(list(words), standalone_mode=False)


def refusal(call, *words) -> str:
    """What Typer says of words that it does not take."""
    try:
        call(*words)
    except Exception as error:
        return error.format_message()  # type: ignore[attr-defined]
    return ""


@pytest.fixture
def prepared():
    """Calls a command with PrepareOptions, and gives those that it got."""
    seen: list[PrepareOptions] = []

    def command(path: str, *, options: PrepareOptions) -> None:
        assert path == "here"
        seen.append(options)

    def call(*words: str) -> PrepareOptions:
        parse(command, "here", *words)
        return seen.pop()

    return call


def source(**values: object) -> dict[str, object]:
    return {"source": SourceOptions(**values)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("", {}),
        ("--name a --version 2.0.0", {"name": "a", "version": "2.0.0"}),
        ("--also isic_2019=x --also table=y", {"also": (("isic_2019", "x"), ("table", "y"))}),
        (
            "--download --drop-leaks --overwrite",
            dict.fromkeys(("download", "drop_leaks", "overwrite"), True),
        ),
        ("--no-harmonise", {"harmonise": False}),
        ("--harmonise", {"harmonise": True}),
        ("--fractions 0.6 0.2 0.1 0.1", {"fractions": Fractions(0.6, 0.2, 0.1, 0.1)}),
        ("--folds 5 --seed 3", {"folds": 5, "seed": 3}),
        ("--split a.csv", {"split_file": Path("a.csv")}),
        (
            "--no-near-duplicates --no-find-artefacts",
            {"near_duplicates": False, "artefacts": False},
        ),
        ("--no-photographs", {"photographs": False}),
        ("--photographs", {"photographs": True}),
        ("--on-error skip", {"on_error": "skip"}),
        ("--max-side 64", {"shards": ShardOptions(max_side=64)}),
        ("--beam-options=--a=1", {"beam_options": "--a=1"}),
        ("--path-column p --label-column l", source(path_column="p", label_column="l")),
        ("--images a/b", source(images=Path("a/b"))),
        (
            "--prefix P=positive --prefix N=negative",
            source(prefixes={"P": "positive", "N": "negative"}),
        ),
        ("--lesions 9", source(phantom=PhantomOptions(lesions=9))),
        ("--no-artefacts", source(phantom=PhantomOptions(artefacts=False))),
    ],
)
def test_each_flag_sets_its_field(prepared, words, changes):
    assert prepared(*words.split()) == replace(PrepareOptions(), **changes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--prefix P", "--prefix P: is written PREFIX=CLASS"),
        ("--also =x", "--also =x: is written SOURCE=PATH"),
        ("--fractions 1 1 1 1", "must add up to 1"),
    ],
)
def test_a_flag_that_cannot_be_read_is_named(prepared, words, message):
    with pytest.raises(UserError, match=message):
        prepared(*words.split())


@pytest.mark.parametrize("words", ["--folds 1", "--max-side 7", "--on-error maybe", "--drop_leaks"])
def test_a_value_that_cannot_be_is_refused(prepared, words):
    assert words.split()[0] in refusal(prepared, *words.split())


def test_a_command_may_have_some_of_the_flags():
    seen = []

    def command(*, options: Annotated[PrepareOptions, Only(("name", "images"))]) -> None:
        seen.append(options)

    parse(command, "--images", "a", "--name", "b")
    assert seen == [PrepareOptions(name="b", source=SourceOptions(images=Path("a")))]
    assert "--seed" in refusal(parse, command, "--seed", "1")
