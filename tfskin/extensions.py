"""Parts that users bring along: a network, a loss or an on-disk layout without a fork of tfskin."""

import importlib
import importlib.metadata
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfskin.errors import UserError, nearest_hint


@dataclass(frozen=True)
class Kind:
    """What a part can be.

    Attributes:
        key: the option that names it, for errors.
        word: what it is called, for errors.
        group: the group of entry points that packages offer such parts in.
        positional: how many arguments tfskin always gives it by position.
        arguments: the keyword arguments that tfskin always gives it.
    """

    key: str
    word: str
    group: str
    positional: int = 0
    arguments: tuple[str, ...] = ()


NETWORK = Kind("model.name", "network", "tfskin.models", arguments=("image_size", "num_classes"))
LOSS = Kind("train.loss", "loss", "tfskin.losses", arguments=("counts",))
SOURCE = Kind("SOURCE", "on-disk layout", "tfskin.sources", positional=1)


def is_own(name: str) -> bool:
    """Whether ``name`` is written ``package.module:function``."""
    return ":" in name


def find_entry_point(name: str, kind: Kind) -> importlib.metadata.EntryPoint | None:
    """The entry point of that name which an installed package offers, or none."""
    found = importlib.metadata.entry_points(group=kind.group, name=name)
    return next(iter(found), None)


def check_part_name(name: str, known: Iterable[str], kind: Kind) -> str:
    """``name``, where it is one of ``known``, an entry point, or ``package.module:function``.

    Nothing is imported.

    Raises:
        UserError: it is none of these; the message names the known ones.
    """
    known = list(known)
    if name in known or is_own(name) or find_entry_point(name, kind):
        return name
    offered = sorted(importlib.metadata.entry_points(group=kind.group).names)
    raise UserError(
        f"{kind.key}: no {kind.word} '{name}'{nearest_hint(name, [*known, *offered])}; "
        f"known: {', '.join([*known, *offered])}; or write one's own as package.module:function"
    )


def load_part(name: str, table: Mapping[str, Any], kind: Kind) -> Any:
    """The part that ``name`` stands for.

    A name of ``table`` is looked up first, then the entry points of ``kind.group``, and
    ``package.module:function`` is imported. Modules in the working directory are found too.

    Raises:
        UserError: no such part, a module that cannot be imported, a module without that function,
            something that cannot be called, or a function that does not take ``kind.arguments``.
    """
    if name in table:
        return table[name]
    check_part_name(name, table, kind)
    entry = find_entry_point(name, kind)
    part = _import(entry.value if entry else name, f"{kind.key}: '{name}'")
    if not callable(part):
        raise UserError(
            f"{kind.key}: '{name}' is {type(part).__name__} and cannot be called; name a function"
        )
    _check_call(part, name, kind)
    return part


def takes(part: Callable[..., Any], argument: str) -> bool:
    """Whether a part has a keyword argument of that name, or takes any."""
    parameters = inspect.signature(part).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def part_module(name: str, kind: Kind) -> str | None:
    """The module that a part of one's own lives in; none for a part of tfskin itself."""
    entry = None if is_own(name) else find_entry_point(name, kind)
    text = entry.value if entry else name
    return text.partition(":")[0] if is_own(text) else None


def import_module(module: str) -> None:
    """Import a module of the user's, from the working directory too.

    Raises:
        ImportError: there is none of that name, or it cannot be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # the scripts of a package don't look there by themselves
    importlib.import_module(module)


def _import(text: str, what: str) -> Any:
    module = text.partition(":")[0]
    try:
        import_module(module)
        return pkgutil.resolve_name(text)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{what}: no module '{error.name}'; install the package that holds it, or run the "
            "command in the folder that it lies in"
        ) from None
    except AttributeError:
        function = text.partition(":")[2]
        near = nearest_hint(function, dir(sys.modules.get(module)))
        raise UserError(f"{what}: module '{module}' has no '{function}'{near}") from None
    except Exception as error:  # whatever the user's module does when it is imported
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"{what}: importing '{module}' failed: {type(error).__name__}: {reason}"
        ) from error


def _check_call(part: Callable[..., Any], name: str, kind: Kind) -> None:
    try:
        signature = inspect.signature(part)
    except ValueError:  # of some functions in C it is not known
        return
    try:
        signature.bind(*[None] * kind.positional, **dict.fromkeys(kind.arguments))
    except TypeError as error:
        given = [*["..."] * kind.positional, *(f"{argument}=..." for argument in kind.arguments)]
        raise UserError(
            f"{kind.key}: '{name}' does not take what tfskin gives a {kind.word}, which is "
            f"({', '.join(given)}): {error}"
        ) from None
