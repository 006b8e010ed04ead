"""What a command can be told: name, type, default, bounds and help of an option, written once.

A command's options are the fields of a frozen dataclass that inherits from :class:`Options`; each
field's type is ``Annotated`` with an :class:`Option`. From them come the check of what Python code
hands over, the list of attributes in the docstring, and (``tfskin.cli.flags``) the command line.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class Option:
    """What is said of a field besides its name, type and default.

    Attributes:
        help: a sentence or two, for the docstring and for ``--help``.
        flag: its name on the command line without dashes; "" for the field's own name, and None
            where the command line does not have it. A field that is a dataclass without a flag
            stands there with the flags of its own fields.
        low: the smallest number.
        high: the largest number.
        form: how the command line writes one of several pairs, such as "PREFIX=CLASS, such as
            P=positive".
    """

    help: str
    flag: str | None = ""
    low: float | None = None
    high: float | None = None
    form: str = ""


class Options:
    """What options classes inherit: their docstring lists the fields, and wrong values are refused.

    Raises:
        UserError: a value of another type or out of its bounds; the message names the option.
    """

    def __init_subclass__(cls) -> None:
        """List the options in the docstring."""
        rows = [f"    {name}: {option.help}" for name, _, option in list_options(cls)]
        cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), "", "Attributes:", *rows])

    def __post_init__(self) -> None:
        """Check every option, and bring it to its type: a path given as text becomes a Path."""
        from tfskin.config import parse_config

        kind: Any = type(self)
        schema = _schema(kind)
        given = {name: getattr(self, name) for name in schema.model_fields}
        parsed = parse_config(given, schema, source=kind.__name__)
        for name in given:
            object.__setattr__(self, name, getattr(parsed, name))


def list_options(options: type) -> Iterator[tuple[str, Any, Option]]:
    """Name, type and :class:`Option` of each field that has one."""
    for name, hint in get_type_hints(options, include_extras=True).items():
        for said in getattr(hint, "__metadata__", ()):
            if isinstance(said, Option):
                yield name, hint.__origin__, said


@cache
def _schema(options: Any) -> type[BaseModel]:
    from pydantic import ConfigDict, Field, create_model

    fields: dict[str, Any] = {
        name: (Annotated[hint, Field(ge=option.low, le=option.high)], ...)
        for name, hint, option in list_options(options)
    }
    return create_model(options.__name__, __config__=ConfigDict(extra="forbid"), **fields)
