"""Folders and files of any name: every command works in them, and every row stays a row."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tfskin
from tests.conftest import TINY
from tests.serving.images import encode, make_image
from tfskin.annotation import annotate_image
from tfskin.datasets.options import PhantomOptions, PrepareOptions, SourceOptions
from tfskin.errors import UserError
from tfskin.experiment.finding_rate import find_rate
from tfskin.experiment.predicting import Counts, load_predictor, stream_predictions
from tfskin.prediction.answers import Answers, Prediction
from tfskin.prediction.options import PredictOptions, StreamOptions
from tfskin.prediction.predictors import Predictor
from tfskin.prediction.stream import predict_images
from tfskin.prediction.tables import printable
from tfskin.schema import ExternalConfig

AWKWARD = "a [1] {x} ü %41 'q'"
NAMES = ["mel", "nv"]
FILES = [
    "line\nbreak.jpg",
    "carriage\rreturn.jpg",
    "both\r\n.jpg",
    'quote".jpg',
    "comma,.jpg",
    "right\u202eto left.jpg",
    "separator\u2028.jpg",
    "bell\x07.jpg",
    "$\\frac{.jpg",
    "=1+1.jpg",
    "ü [1] %41.jpg",
]


def answer(encoded):
    values = np.tile(np.array([[0.25, 0.75]], np.float32), (len(encoded), 1))
    return Answers(values, np.array([len(data) > 0 for data in encoded]))


ANSWERS = Predictor(NAMES, answer, "made")


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(encode(make_image(0)))
    if os.name == "posix":
        (folder / os.fsdecode(b"latin\xfc.jpg")).write_bytes(encode(make_image(0)))
    return folder


def test_every_command_works_in_a_folder_of_an_awkward_name(tmp_path, monkeypatch):
    here = tmp_path / AWKWARD
    here.mkdir()
    monkeypatch.chdir(here)
    phantoms = SourceOptions(phantom=PhantomOptions(lesions=60, image_size=(48, 64)))
    options = PrepareOptions(source=phantoms)
    shards = tfskin.prepare("phantom", here / "drawn", output=here / AWKWARD, options=options)
    assert tfskin.audit("phantom", here / "drawn", output=here / "audit", options=options)
    words = [*TINY, "train.epochs=1", f"data.shards={shards.folder}"]
    config = tfskin.read_config("five_layer_rgb.yaml", words)
    assert find_rate(config, output=here / "rates", updates=4).image.is_file()
    runs = [
        tfskin.train(one, output=here / AWKWARD / f"run {name} [{name}]").folder
        for name, one in (("a", config), ("b", config.model_copy(update={"seed": 5})))
    ]
    (runs[0] / "metrics.json").unlink()
    assert tfskin.resume(runs[0]).finished
    weights = tfskin.read_config("five_layer_rgb.yaml", [*words, f"model.weights={runs[0]}"])
    assert tfskin.train(weights, output=here / "again [2]").finished
    members = tfskin.EnsembleConfig(members=list(map(str, runs)))
    both = tfskin.ensemble(members, output=here / "both [3]").folder
    assert tfskin.evaluate(both, resamples=100)
    names = {name: [name] for name in ("melanoma", "nevus")}
    other = ExternalConfig(name="other", shards=str(shards.folder), classes=names, fold=names)
    assert tfskin.evaluate(both, external=other, resamples=100, output=here / "other [4]")
    assert tfskin.compare(runs, output=here / "pair [5]", resamples=100)["pairs"]
    images = sorted((here / "drawn").glob("*.jpg"))[:3]
    assert len(tfskin.explain(runs[0], images, output=here / "seen [6]")) == 3
    exported = tfskin.export(both, output=here / "exports [7]")
    tables = []
    for number, target in enumerate((both, exported, exported.parent)):
        output = here / f"rows [{number}].csv"
        drawings = here / f"drawings [{number}]"
        chosen = PredictOptions(output=output, annotate=drawings)
        list(stream_predictions(load_predictor(target), images, options=chosen))
        tables.append(pd.read_csv(output))
        assert len(list(drawings.iterdir())) == 3
    for table in tables[1:]:
        np.testing.assert_allclose(table["melanoma"], tables[0]["melanoma"], atol=1e-5)
    assert not [p for p in here.rglob(".*") if p.suffix == ".lock" or ".writing" in p.name]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_table_has_a_row_an_image_whatever_the_files_are_called(tmp_path, files, suffix):
    output = tmp_path / f"rows{suffix}"
    options = PredictOptions(output=output, annotate=tmp_path / "seen", stream=StreamOptions(4))
    found = list(stream_predictions(ANSWERS, [files], options=options))
    assert [one.error for one in found] == [""] * len(list(files.iterdir()))
    text = output.read_bytes().decode("utf-8")
    lines = text.splitlines()
    assert len(lines) == len(found) + (suffix == ".csv")
    for one in found:
        assert printable(one.path).isascii() or "\u2028" not in printable(one.path)
    assert len(list((tmp_path / "seen").iterdir())) == len(found)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("cut", [3, 4])
def test_a_half_written_table_goes_on_whatever_the_files_are_called(tmp_path, files, suffix, cut):
    output = tmp_path / f"rows{suffix}"
    options = PredictOptions(output=output, stream=StreamOptions(1))
    whole = PredictOptions(output=tmp_path / f"whole{suffix}", stream=StreamOptions(1))
    list(stream_predictions(ANSWERS, [files], options=whole))
    begun = stream_predictions(ANSWERS, [files], options=options)
    for _ in range(cut):
        next(begun)
    del begun
    part = output.with_name(f"{output.name}.part")
    part.write_bytes(part.read_bytes()[:-2])  # the last row is cut off
    counts = Counts()
    rest = list(stream_predictions(ANSWERS, [files], options=options, counts=counts))
    assert counts.resumed + len(rest) == len(list(files.iterdir()))
    assert counts.resumed == cut - 1
    assert output.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


def test_class_names_of_any_kind_are_drawn():
    names = ["line\nbreak", "$\\frac{", "\u202eright", "half \udcfc"]
    prediction = Prediction(Path("x\n.jpg"), names, (0.1, 0.2, 0.3, 0.4))
    assert annotate_image(Image.new("RGB", (40, 30)), prediction).size[0] > 40
    failed = Prediction(Path("x\n.jpg"), names, (), "broken\nin two lines")
    assert annotate_image(Image.new("RGB", (40, 30)), failed).size[0] > 40


def test_plots_take_no_name_for_a_formula(tmp_path):
    from matplotlib.figure import Figure

    from tfskin.evaluation.plots import save_figure

    figure = Figure()
    axes = figure.subplots()
    axes.set_title("$\\frac{ costs $5")
    axes.set_xscale("log")
    axes.set_xlim(1e-6, 1)
    save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize("below", ["", "seen", "deep/seen", "../images/seen"])
@pytest.mark.parametrize("given", ["{}", "{}/*.jpg", "{}/**/*.jpg"])
def test_drawings_never_go_where_images_are_read(tmp_path, below, given):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "x.jpg").write_bytes(encode(make_image(0)))
    options = PredictOptions(annotate=folder / below)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"--annotate .*lies in .*images"):
        list(stream_predictions(ANSWERS, [given.format(folder)], options=options))
    assert sorted(tmp_path.rglob("*")) == before
    for place in ("seen", "images2"):
        beside = PredictOptions(annotate=tmp_path / place)
        for _ in range(2):
            found = list(stream_predictions(ANSWERS, [given.format(folder)], options=beside))
            assert len(found) == 1
    alone = PredictOptions(annotate=folder)  # named one by one, drawings are not read
    assert len(list(stream_predictions(ANSWERS, [folder / "x.jpg"], options=alone))) == 1


def test_explanations_never_go_where_images_are_read(tmp_path, tiny_runs):
    (tmp_path / "x.jpg").write_bytes(encode(make_image(0)))
    with pytest.raises(UserError, match=r"--output .*lies in"):
        tfskin.explain(tiny_runs[0], [tmp_path], output=tmp_path / "seen")


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices have names on POSIX systems")
def test_what_is_no_regular_file_is_an_error_of_its_row(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "endless.jpg").symlink_to("/dev/zero")
    (tmp_path / "nothing.jpg").symlink_to("/dev/null")
    (tmp_path / "good.jpg").write_bytes(encode(make_image(0)))
    rows = predict_images(ANSWERS, sorted(tmp_path.iterdir()))
    found = {one.path.name: one.error for one in rows}
    assert found.pop("good.jpg") == ""
    assert len(found) == 3
    assert all(error.startswith("is no regular file") for error in found.values())
    nul = next(predict_images(ANSWERS, [Path("a\0b.jpg")]))
    assert re.match("cannot be read", nul.error)


def test_a_file_larger_than_an_image_can_be_is_an_error_of_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr("tfskin.datasets.decoding.MAX_FILE_BYTES", 1000)
    (tmp_path / "large.jpg").write_bytes(b"\xff\xd8\xff" + bytes(1000))
    (one,) = predict_images(ANSWERS, [tmp_path / "large.jpg"])
    assert "more than 1,000 bytes" in one.error
