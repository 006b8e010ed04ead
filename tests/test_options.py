"""Classes of options: checked when they are made, and listed in their docstring."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tfskin.errors import UserError
from tfskin.options import Options, option


@dataclass(frozen=True)
class Count(Options):
    """What is counted."""

    least: int = option(1, "The fewest.", low=1, high=9)
    place: Path | None = option(None, "Where it lies.")
    words: dict[str, str] = option(dict, "Pairs.", form="A=B")


def test_options_are_checked_and_brought_to_their_type():
    assert Count(place="a/b").place == Path("a/b")  # type: ignore[arg-type]
    for wrong, message in (
        ({"least": 0}, "^Count: least: .* got 0$"),
        ({"least": 10}, "^Count: least: .* got 10$"),
        ({"least": "many"}, "^Count: least: .* got 'many'$"),
        ({"words": 3}, "^Count: words: .* got 3$"),
    ):
        with pytest.raises(UserError, match=message):
            Count(**wrong)
    with pytest.raises(UserError, match="least"):
        replace(Count(), least=0)


def test_options_are_listed_in_the_docstring():
    assert Count.__doc__ is not None
    assert Count.__doc__.splitlines()[-3:] == [
        "    least: The fewest.",
        "    place: Where it lies.",
        "    words: Pairs.",
    ]
