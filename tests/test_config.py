import math
from pathlib import Path
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tfskin.config import (
    QUICKSTART,
    describe_difference,
    dump_config,
    find_config,
    list_keys,
    read_config,
    read_values,
    shipped_configs,
)
from tfskin.errors import UserError
from tfskin.schema import ComparisonConfig, EnsembleConfig, ExperimentConfig, ExternalConfig


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("key", ["train.feature_views=2", "train.jit_compile=on"])
def test_what_a_distribution_cannot_do_is_refused(key):
    with pytest.raises(UserError, match="set distribution to none"):
        read_config(QUICKSTART, ["train.distribution=mirrored", key])


def test_file_and_overrides_change_only_what_they_name(tmp_path):
    path = write(tmp_path, "name: mine\ntrain:\n  epochs: 7\n")
    config = read_config(path, ["train.batch_size=8", "model.image_size=[64, 80]"])
    assert config.name == "mine"
    assert (config.train.epochs, config.train.batch_size) == (7, 8)
    assert config.model.image_size == (64, 80)
    assert config.train.learning_rate == ExperimentConfig().train.learning_rate


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "0.0001", ".0001"])
def test_a_float_can_be_written_in_any_way(text):
    assert read_config(None, [f"train.learning_rate={text}"]).train.learning_rate == 1e-4


def test_yaml_words_stay_words(tmp_path):
    path = write(tmp_path, "data:\n  classes: {no: [off, 'on'], nv: [nv]}\n")
    config = read_config(path)
    assert config.data.classes == {"no": ["off", "on"], "nv": ["nv"]}


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("train.epoch=3", ["train.epoch", "did you mean 'epochs'"]),
        ("trian.epochs=3", ["trian", "did you mean 'train'"]),
        ("train.zzz=3", ["train.zzz", "known here", "epochs"]),
        ("train.epochs=zero", ["train.epochs", "integer", "'zero'"]),
        ("train.epochs=0", ["train.epochs", "greater than or equal to 1"]),
        ("train.precision=float64", ["train.precision", "mixed_float16"]),
        ("data.augment.crop=[1, 0.5]", ["data.augment", "crop", "low <= high"]),
        ("model.image_size=4", ["model.image_size", "8"]),
        ("name=../up", ["name", "pattern"]),
        ("train=3", ["train"]),
        ("train.epochs", ["train.epochs", "key=value"]),
        ("name.inner=3", ["name"]),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path, override, parts):
    path = write(tmp_path, "name: mine\n")
    with pytest.raises(UserError) as caught:
        read_config(path, [override])
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message


def test_the_file_is_named_in_the_error(tmp_path):
    path = write(tmp_path, "train: {epochs: -1}\n")
    with pytest.raises(UserError, match=r"experiment\.yaml: train\.epochs"):
        read_config(path)


@pytest.mark.parametrize("text", ["a: [", "just words", "- 1\n- 2\n", "a: 1\na: 2\n"])
def test_a_file_that_holds_no_config_is_refused_in_one_line(tmp_path, text):
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=r"experiment\.yaml") as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_what_there_is():
    with pytest.raises(UserError, match=r"five_layer_hsv\.yaml"):
        find_config("five_layer_hvs.yaml")


def test_shipped_configs_are_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("five_layer_hsv.yaml").is_file()
    assert find_config("configs/five_layer_hsv.yaml").is_file()


def test_an_empty_file_is_the_defaults(tmp_path):
    assert read_config(write(tmp_path, "# nothing\n")) == ExperimentConfig()


WORDS = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1)


@given(
    seed=st.integers(0, 2**31 - 1),
    rate=st.floats(1e-8, 10),
    size=st.tuples(st.integers(8, 4096), st.integers(8, 4096)),
    classes=st.none() | st.dictionaries(WORDS, st.lists(WORDS), min_size=1),
)
def test_what_is_written_is_what_is_read(tmp_path_factory, seed, rate, size, classes):
    config = ExperimentConfig.model_validate(
        {
            "seed": seed,
            "train": {"learning_rate": rate},
            "model": {"image_size": size},
            "data": {"classes": classes},
        }
    )
    path = write(tmp_path_factory.mktemp("config"), dump_config(config))
    assert read_config(path) == config


def test_every_key_is_listed_with_type_default_and_a_line():
    keys = {key: rest for key, *rest in list_keys(ExperimentConfig)}
    assert keys["train.epochs"][:2] == ["int", "12"]
    assert "mixed_float16" in keys["train.precision"][0]
    assert all(description for _, _, description in keys.values())
    for key in keys:
        values: object = ExperimentConfig().model_dump()
        for part in key.split("."):
            assert isinstance(values, dict)
            values = values[part]


def test_types_in_help_are_readable():
    for _, kind, _, _ in list_keys(ExperimentConfig):
        assert "Annotated" not in kind
        assert "FieldInfo" not in kind
        assert kind.count("[") == kind.count("]"), kind
        assert kind.count("(") == kind.count(")"), kind


def test_external_needs_the_same_classes_on_both_sides(tmp_path):
    text = "name: a\nshards: b\nclasses: {x: [1], y: ['2']}\nfold: {x: [m]}\n"
    with pytest.raises(UserError, match="same classes"):
        read_config(write(tmp_path, text.replace("[1]", "['1']")), (), ExternalConfig)


@pytest.mark.parametrize("path", shipped_configs(), ids=lambda path: path.name)
def test_shipped_configs_are_valid_and_say_how_to_run_them(path):
    values = read_values(path)
    schema: type[BaseModel] = ExperimentConfig
    if "members" in values:
        schema = EnsembleConfig
    elif "fold" in values:
        schema = ExternalConfig
    elif "variants" in values:
        schema = ComparisonConfig
    read_config(path, (), schema)
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any("tfskin-" in line for line in header)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["train.epochs=5"], "train.epochs is 60 there, 5 here"),
        (["data.exclude=[hair]", "seed=3"], "seed is 0 there, 3 here, and 1 more"),
        (
            ["train.class_weights={mel: 2}"],
            'train.class_weights is "none" there, not here, and 1 more',
        ),
        (["model.image_size=[32, 40]"], "model.image_size is [80, 80] there, [32, 40] here"),
    ],
)
def test_the_first_key_in_which_configs_differ_is_named(overrides, expected):
    there = read_config("ham10000_rgb.yaml")
    assert describe_difference(there, read_config("ham10000_rgb.yaml", overrides)) == expected


ALL_SCHEMAS = (ExperimentConfig, EnsembleConfig, ExternalConfig, ComparisonConfig)
ABSURD = (math.nan, math.inf, -math.inf, 1e15, -1e15, 10**15, -(10**15))


def numeric_values(annotation, number):
    """Values of a type in which every number is ``number``; none where it holds no numbers."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in (int, float):
        yield number
    elif origin is Annotated:
        yield from numeric_values(inner[0], number)
    elif origin in (Union, UnionType):
        for part in inner:
            yield from numeric_values(part, number)
    elif origin is dict:
        yield from ({"mel": value} for value in numeric_values(inner[1], number))
    elif origin in (tuple, list):
        parts = [part for part in inner if part is not ...]
        together = [list(numeric_values(part, number)) for part in parts]
        if all(together):
            yield [values[0] for values in together]


def find_schemas(schema):
    yield schema
    for field in schema.model_fields.values():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from find_schemas(part)


def test_no_key_takes_a_number_that_is_none_or_absurd():
    """Of every schema, every field that holds numbers, however deep."""
    tried, taken = set(), []
    for schema in {found for top in ALL_SCHEMAS for found in find_schemas(top)}:
        for name, field in schema.model_fields.items():
            for number in ABSURD:
                for value in numeric_values(field.annotation, number):
                    tried.add((schema.__name__, name))
                    with pytest.raises(ValidationError) as caught:
                        schema.model_validate({name: value, "no such key": 1})
                    if name not in {error["loc"][0] for error in caught.value.errors()}:
                        taken.append((schema.__name__, name, value))
    assert taken == []
    assert len(tried) > 60
    assert {("TrainConfig", "class_weights"), ("AugmentConfig", "crop")} <= tried


@pytest.mark.parametrize("key", ["train.learning_rate", "evaluate.resamples", "data.augment.crop"])
@pytest.mark.parametrize("value", [".inf", ".nan", "1e9", "[.inf, .nan]"])
def test_a_number_beyond_its_bounds_is_named(key, value):
    with pytest.raises(UserError, match=f"command line: {key}"):
        read_config(None, [f"{key}={value}"])


def bomb(levels=12, width=12):
    """YAML of a few hundred bytes that stands for 12 to the power of 12 words."""
    lines = ["a0: &a0 [" + ", ".join(["word"] * width) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * width) + "]" for n in range(1, levels)]
    return "\n".join([*lines, f"name: *a{levels - 1}"])


HOSTILE = {
    "bomb": bomb(),
    "a name of a million letters": "name: " + "x" * 900_000,
    "a key of many letters": "x" * 100_000 + ": 1",
    "a bomb in the model": bomb().replace("name:", "model:"),
    "an alias of itself": "name: &a [*a]",
    "deep": "name: " + "[" * 20_000,
    "a date that is none": "name: 2020-13-45",
    "a number of many digits": "seed: " + "9" * 10_000,
    "a key that is a list": "? [1, 2]\n: 3",
    "a key that is a section": "? {a: 1}\n: 3",
    "a number of no base": "seed: !!int abc",
    "letters for binary": "name: !!binary '*'",
    "an object": "name: !!python/object/apply:os.system [ls]",
    "a null byte": "name: a\0b",
    "an unclosed quote": "name: '" + "y" * 100_000,
    "larger than a config": "# " + "x" * 1_000_001,
    "class names": "data: {classes: {" + "mel" * 50_000 + ": 3}}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_config_makes_a_long_message(tmp_path, name):
    path = tmp_path / "config.yaml"
    path.write_text(HOSTILE[name])
    with pytest.raises(UserError) as caught:
        read_config(path)
    message = str(caught.value).removeprefix(str(path))
    assert message != str(caught.value)
    assert len(message) < 600
    assert "\n" not in message


@pytest.mark.parametrize(
    "override", ["name=" + "x" * 100_000, "y" * 100_000, "z" * 100_000 + "=1", "a: {" * 9000 + "=["]
)
def test_no_override_makes_a_long_message(override):
    with pytest.raises(UserError) as caught:
        read_config(None, [override])
    assert len(str(caught.value)) < 600


def test_a_long_message_loses_its_middle():
    error = UserError("a.csv: " + "x" * 100_000 + "; what to do")
    assert len(str(error)) <= 900
    assert str(error).startswith("a.csv: x")
    assert str(error).endswith("x; what to do")
    assert str(UserError("a  b.csv: is short")) == "a  b.csv: is short"
