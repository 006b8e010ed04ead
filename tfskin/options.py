"""What a command can be told: name, type, default, bounds and help of an option, written once.

A command's options are the fields of a frozen dataclass that inherits from :class:`Options`, each
with a default made by :func:`option`. From them come the check of what Python code hands over, the
list of attributes in the docstring, and (``tfskin.cli.flags``) the command line.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class Option:
    """What is said of a field besides its name, type and default; see :func:`option`."""

    help: str
    flag: str | None = ""
    low: float | None = None
    high: float | None = None
    form: str = ""


def option(default: Any, help: str, **said: Any) -> Any:
    """A field of a class of options, with what is said of it.

    Args:
        default: its value; a class for one that is made anew each time.
        help: a sentence or two, for the docstring and for ``--help``.
        said: ``flag``, its name on the command line without dashes, where that is not the field's
            own name, and None where the command line does not have it (a field that is a dataclass
            without a flag stands there with the flags of its own fields); ``low`` and ``high``, the
            smallest and the largest number; ``form``, how the command line writes one of several
            pairs, such as "PREFIX=CLASS, such as P=positive".
    """
    metadata = {"option": Option(help, **said)}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


class Options:
    """What options classes inherit: their docstring lists the fields, and wrong values are refused.

    Raises:
        UserError: a value of another type or out of its bounds; the message names the option.
    """

    def __init_subclass__(cls) -> None:
        """List the options in the docstring."""
        lines = [inspect.cleandoc(cls.__doc__ or ""), "", "Attributes:"]
        for name, value in vars(cls).items():
            if isinstance(value, Field):
                lines.append(f"    {name}: {value.metadata['option'].help}")
        cls.__doc__ = "\n".join(lines)

    def __post_init__(self) -> None:
        """Check every option, and bring it to its type: a path given as text becomes a Path."""
        from tfskin.config import parse_config

        kind: Any = type(self)
        schema = _schema(kind)
        given = {name: getattr(self, name) for name in schema.model_fields}
        parsed = parse_config(given, schema, source=kind.__name__)
        for name in given:
            object.__setattr__(self, name, getattr(parsed, name))


def list_options(options: Any) -> Iterator[tuple[Field[Any], Any, Option]]:
    """Field, type and what is said of it, for each field of a dataclass that is an option."""
    hints = get_type_hints(options)
    for one in fields(options):
        if "option" in one.metadata:
            yield one, hints[one.name], one.metadata["option"]


@cache
def _schema(options: Any) -> type[BaseModel]:
    import pydantic

    checked: dict[str, Any] = {
        one.name: (Annotated[hint, pydantic.Field(ge=said.low, le=said.high)], ...)
        for one, hint, said in list_options(options)
    }
    return pydantic.create_model(options.__name__, **checked)
