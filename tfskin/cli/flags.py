"""Classes of options -> flags of a command, so that no option is written down twice.

The libraries that do this (pydantic-settings, cyclopts, tyro) bring a look, a spelling of nested
options and error lines of their own, and Typer takes plain parameters; so this hands it some.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from tfskin.errors import UserError
from tfskin.options import Option, list_options


@dataclass(frozen=True)
class Only:
    """Which flags of an options class a command has."""

    flags: tuple[str, ...]


@dataclass(frozen=True)
class Flag:
    """A flag, and the field that it sets.

    Attributes:
        parameter: as Typer takes it.
        path: names of the field, and before it of those that it lies in.
        read: what Typer hands over -> the field's value.
    """

    parameter: inspect.Parameter
    path: tuple[str, ...]
    read: Callable[[Any], Any]


def expand(command: Callable[..., None], *, everywhere: Mapping[str, Any]) -> Callable[..., None]:
    """The command as Typer takes it: a parameter that is a class of options becomes its flags.

    ``Annotated[PrepareOptions, Only(("name", "also"))]`` becomes those two alone.

    Args:
        command: what a command does.
        everywhere: name -> type of the switches, off unless given, that every command has; it is
            not called with them.
    """
    found: dict[str, tuple[Any, list[Flag]]] = {}
    parameters: list[inspect.Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        model: Any
        model, *said = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        if not is_dataclass(model):
            parameters.append(parameter.replace(annotation=hint))
            continue
        flags = list(_list_flags(model))
        for only in (one for one in said if isinstance(one, Only)):
            flags = [flag for flag in flags if flag.parameter.name in only.flags]
        found[parameter.name] = (model, flags)
        parameters += [flag.parameter for flag in flags]

    for name, hint in everywhere.items():
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, kind, default=False, annotation=hint))

    def expanded(**values: Any) -> None:
        for name in everywhere:
            values.pop(name)
        for name, (model, flags) in found.items():
            chosen = {flag.path: flag.read(values.pop(flag.parameter.name)) for flag in flags}
            values[name] = _build(model, chosen)
        command(**values)

    expanded.__doc__ = command.__doc__
    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {one.name: one.annotation for one in parameters}
    return expanded


def _list_flags(
    model: Any, path: tuple[str, ...] = (), *, optional: bool = False
) -> Iterator[Flag]:
    """The flags of a class in order; an ``optional`` class is made only if one of them is given."""
    for one, hint, option in list_options(model):
        plain, maybe = _without_none(hint)
        if option.flag is not None:
            default = None if optional else _default(one)
            yield _make_flag((*path, one.name), plain, option, default)
        elif is_dataclass(plain):
            yield from _list_flags(plain, (*path, one.name), optional=optional or maybe)


def _make_flag(path: tuple[str, ...], kind: Any, option: Option, default: Any) -> Flag:
    name = option.flag or path[-1]
    read: Callable[[Any], Any] = _same
    if option.form:
        pairs_of = dict if get_origin(kind) is dict else tuple
        read = _pair_reader(name, option.form, pairs_of, default)
        kind, default = list[str], None
    elif is_dataclass(kind):
        read = _tuple_reader(kind)
        names = [part.name for part in fields(kind)]
        default = tuple(getattr(default, part) for part in names)
        kind = tuple.__class_getitem__(tuple(get_type_hints(kind)[part] for part in names))
    spelled = [f"--{name.replace('_', '-')}"] if kind is bool and default is False else []
    shown = default is not None
    info = typer.Option(
        *spelled, help=option.help, min=option.low, max=option.high, show_default=shown
    )
    taken: Any = kind if shown else kind | None
    parameter = inspect.Parameter(
        name.replace("-", "_"),
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[taken, info],
    )
    return Flag(parameter, path, read)


def _build(model: Any, chosen: dict[tuple[str, ...], Any], *, optional: bool = False) -> Any:
    """The options; a field that no flag was given for keeps its default."""
    values = {path[0]: value for path, value in chosen.items() if len(path) == 1}
    for one, hint, _ in list_options(model):
        inner = {path[1:]: value for path, value in chosen.items() if path[:1] == (one.name,)}
        if inner and () not in inner:
            plain, maybe = _without_none(hint)
            values[one.name] = _build(plain, inner, optional=maybe)
    given = {name: value for name, value in values.items() if value is not None}
    return None if optional and not given else model(**given)


def _without_none(hint: Any) -> tuple[Any, bool]:
    """``X | None`` -> ``(X, True)``."""
    if get_origin(hint) not in (Union, UnionType):
        return hint, False
    rest = [part for part in get_args(hint) if part is not type(None)]
    return rest[0], True


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _same(value: Any) -> Any:
    return value


def _tuple_reader(kind: Any) -> Callable[[Any], Any]:
    return lambda values: kind(*values)


def _pair_reader(name: str, form: str, pairs_of: type, default: Any) -> Callable[[Any], Any]:
    """``["P=positive"]`` -> ``{"P": "positive"}``, or a tuple of pairs."""

    def read(words: list[str] | None) -> Any:
        pairs = []
        for word in words or ():
            left, _, right = word.partition("=")
            if not left or not right:
                raise UserError(f"--{name} {word}: is written {form}")
            pairs.append((left, right))
        return pairs_of(pairs) if pairs else default

    return read
