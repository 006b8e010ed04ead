"""Configs: YAML in and out, dotted overrides, faults by file and key (keys: tfskin.schema)."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, overload

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tfskin.errors import UserError, nearest_hint, shorten
from tfskin.schema import ComparisonConfig, ExperimentConfig

QUICKSTART = "five_layer_rgb.yaml"
"""What is trained when no config is given; it ships with tfskin."""

_MOST_BYTES = 1_000_000

Schema = TypeVar("Schema", bound=BaseModel)


@overload
def read_config(path: Path | str | None, overrides: Sequence[str] = ()) -> ExperimentConfig: ...


@overload
def read_config(
    path: Path | str | None, overrides: Sequence[str], schema: type[Schema]
) -> Schema: ...


def read_config(
    path: Path | str | None,
    overrides: Sequence[str] = (),
    schema: type[BaseModel] = ExperimentConfig,
) -> BaseModel:
    """The experiment of a YAML file with ``section.key=value`` overrides applied.

    Args:
        path: a YAML file; the name of one that ships with tfskin; none for the defaults.
        overrides: dotted keys with YAML values, such as ``train.epochs=3``.
        schema: :class:`ExperimentConfig` unless given; or that of an ensemble, or of another
            data set to judge a run on.

    Raises:
        UserError: no such file, not YAML, an unknown key, a wrong type or range. The message
            names the file, the dotted key and the nearest valid key.

    Example:
        >>> config = tfskin.read_config("five_layer_rgb.yaml", ["train.learning_rate=1e-4"])
        >>> config.model.color_space, config.train.learning_rate
        ('rgb', 0.0001)
    """
    values: dict[str, Any] = {}
    if path is not None:
        path = find_config(path)
        values = read_values(path)
    for override in overrides:
        _apply_override(values, override)
    if path is None:
        return parse_config(values, schema, source="command line")
    if overrides:
        parse_config(read_values(path), schema, source=str(path))  # the file's own faults first
        return parse_config(values, schema, source="command line")
    return parse_config(values, schema, source=str(path))


def list_experiments(config: ComparisonConfig) -> dict[str, ExperimentConfig]:
    """Variant -> its experiment.

    Raises:
        UserError: an override with an unknown key or a wrong value.
    """
    return {
        name: change_config(config, overrides, name=name, source=f"variants: {name}")
        for name, overrides in config.variants.items()
    }


def change_config(
    config: ExperimentConfig, overrides: Sequence[str], *, name: str, source: str
) -> ExperimentConfig:
    """Another experiment: of this name, with ``section.key=value`` overrides applied.

    Raises:
        UserError: an override with an unknown key or a wrong value; ``source`` is named.
    """
    values = config.model_dump(mode="json", include=set(ExperimentConfig.model_fields))
    values["name"] = name
    for override in overrides:
        _apply_override(values, override)
    return parse_config(values, ExperimentConfig, source=source)


def split_sweep(sweeps: Sequence[str]) -> dict[str, list[Any]]:
    """``["train.learning_rate=1e-3,1e-4"]`` -> ``{"train.learning_rate": [0.001, 0.0001]}``.

    Raises:
        UserError: not ``key=a,b``, a key given twice, a value given twice.
    """
    found: dict[str, list[Any]] = {}
    for sweep in sweeps:
        key, equals, text = sweep.partition("=")
        values = _load_yaml(f"[{text}]", source=f"--sweep '{shorten(sweep)}'")
        if not equals or not key or len(values) < 2:
            raise UserError(
                f"--sweep '{shorten(sweep)}': is written key=a,b, such as "
                "train.learning_rate=1e-3,1e-4"
            )
        if key in found or any(value in values[:place] for place, value in enumerate(values)):
            raise UserError(f"--sweep '{shorten(sweep)}': a key or value is given twice")
        found[key] = values
    return found


def parse_config(values: dict[str, Any], schema: type[Schema], *, source: str) -> Schema:
    """``values`` checked against ``schema``; ``source`` is named in the error."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error, schema, source)) from None


def dump_config(config: BaseModel) -> str:
    """The whole config as YAML, every key written out."""
    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(config.model_dump(mode="json"), stream)
    return stream.getvalue()


def describe_difference(there: BaseModel, here: BaseModel) -> str | None:
    """``"train.epochs is 3 there, 5 here"``: the first key that differs, and how many more do.

    Classes in another order differ too: theirs is that of the logits. None: the same config.
    """
    left, right = (dict(_flatten(config.model_dump(mode="json"))) for config in (there, here))
    keys = [key for key in left | right if left.get(key) != right.get(key)]
    if not keys:
        classes = [[k for k in part if k.startswith("data.classes.")] for part in (left, right)]
        moved = [one for one, other in zip(*classes, strict=True) if one != other]
        return f"{moved[0]} stands in another place there" if moved else None
    shown = [json.dumps(part[keys[0]]) if keys[0] in part else "not" for part in (left, right)]
    more = f", and {len(keys) - 1} more" if keys[1:] else ""
    return f"{keys[0]} is {shown[0]} there, {shown[1]} here{more}"


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def list_keys(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """``(dotted key, type, default, description)`` for every key of a schema."""
    for name, field in schema.model_fields.items():
        section = _section(field)
        if section is not None:
            yield from list_keys(section, f"{prefix}{name}.")
            continue
        default = field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() else _show(default)
        yield prefix + name, _type_name(field.annotation), shown, field.description or ""


def find_config(path: Path | str) -> Path:
    """The YAML file at ``path``, or the one of that name that ships with tfskin."""
    path = Path(path)
    if path.is_file():
        return path
    shipped = shipped_configs()
    names = {file.name: file for file in shipped}
    for name in (path.name, f"{path.name}.yaml"):
        if name in names and path.parent.as_posix() in (".", "configs"):
            return names[name]
    hint = nearest_hint(path.name, list(names))
    raise UserError(f"{path}: no such config file{hint}; shipped: {', '.join(sorted(names))}")


def shipped_configs() -> list[Path]:
    """The YAML files that ship with tfskin: in the wheel, or in a checkout's ``configs``."""
    package = Path(__file__).parent
    for folder in (package / "configs", package.parent / "configs"):
        files = sorted(folder.glob("*.yaml"))
        if files:
            return files
    return []


def read_values(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file, not yet checked.

    Raises:
        UserError: it cannot be read, is not YAML, or holds no keys.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path}: has more than {_MOST_BYTES} bytes, and can't be a config")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not YAML: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    values = _load_yaml(text, source=str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold keys and values, such as 'train: {{epochs: 3}}'")
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(
            f"'{shorten(override)}': an override is written key=value, such as train.epochs=3"
        )
    value = _load_yaml(text, source=f"'{shorten(override)}'")
    *sections, last = key.split(".")
    place = values
    for section in sections:
        inner = place.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UserError(f"'{shorten(override)}': '{shorten(section)}' is a value, no section")
        place = inner
    place[last] = value


def _load_yaml(text: str, *, source: str) -> Any:
    """What YAML says; ``source`` is named in the error."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except RecursionError:
        raise UserError(f"{source}: not YAML: is nested too deeply") from None
    # Dates and numbers that are none, and keys that are lists, leave the parser as they come.
    except (YAMLError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise UserError(f"{source}: not YAML: {shorten(str(error), 300)}") from None


def _explain(error: ValidationError, schema: type[BaseModel], source: str) -> str:
    first = error.errors()[0]
    key = shorten(".".join(str(part) for part in first["loc"]), 200)
    if first["type"] == "extra_forbidden":
        *sections, last = [str(part) for part in first["loc"]]
        known = list(_descend(schema, sections).model_fields)
        hint = nearest_hint(last, known) or f"; known here: {', '.join(known)}"
        return f"{source}: unknown key '{key}'{hint}"
    message = shorten(first["msg"].removeprefix("Value error, "), 400)
    given = ""
    if first["type"] not in ("missing", "value_error"):
        # As a whole, lists of aliases of lists of aliases would fill the memory.
        given = f", got {shorten(reprlib.repr(first['input']))}"
    return f"{source}: {key or 'config'}: {message[0].lower()}{message[1:]}{given}"


def _descend(schema: type[BaseModel], sections: Sequence[str]) -> type[BaseModel]:
    for name in sections:
        field = schema.model_fields.get(name)
        section = _section(field) if field else None
        if section is None:
            break
        schema = section
    return schema


def _section(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def _type_name(annotation: Any) -> str:
    """A type as a reader of ``--help`` would write it: ``float | none``, ``[int, int]``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "{" + ", ".join(annotation.model_fields) + "}"
    if origin is Annotated:
        return _type_name(inner[0])
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin in (Union, UnionType):
        return " | ".join(map(_type_name, inner))
    if origin is tuple:
        return "[" + ", ".join("..." if part is ... else _type_name(part) for part in inner) + "]"
    if origin is list:
        return f"[{_type_name(inner[0])}, ...]"
    if origin is dict:
        return f"{{{_type_name(inner[0])}: {_type_name(inner[1])}}}"
    return "none" if annotation is type(None) else str(annotation.__name__)


def _show(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f"{item:g}" for item in value) + "]"
    return str(value)
