from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serving.images import encode, encode_turned, make_image
from tfskin.annotation import Annotator, annotate_image, lay_heat_map
from tfskin.errors import UserError
from tfskin.prediction.answers import HeatMap, Prediction

NAMES = ["bkl", "mel", "nv"]
ORANGE = (213, 94, 0)


def predict(path="lesion.jpg", probabilities=(0.1, 0.6, 0.3), error=""):
    return Prediction(Path(path), NAMES, probabilities, error)


def bar_width(image, color=ORANGE):
    matches = (np.asarray(image) == color).all(-1)
    return int(matches.sum(1).max())


@pytest.mark.parametrize("size", [(200, 150), (150, 200), (3000, 2000), (1, 1), (900, 40)])
def test_image_stands_left_of_a_readable_panel(size):
    annotated = annotate_image(make_image(0, width=size[0], height=size[1]), predict())
    assert annotated.mode == "RGB"
    assert annotated.height >= max(320, size[1])
    assert annotated.width >= size[0] + 250
    assert bar_width(annotated) > 40


def test_a_large_image_keeps_its_pixels():
    image = make_image(0, width=700, height=500)
    annotated = annotate_image(image, predict())
    np.testing.assert_array_equal(annotated.crop((0, 0, 700, 500)), image)


def test_bars_are_as_long_as_the_probabilities():
    image = Image.new("RGB", (500, 500))
    long, short = (
        annotate_image(image, predict(probabilities=p)) for p in ((0, 1, 0), (0, 0.5, 0))
    )
    assert bar_width(short) == pytest.approx(bar_width(long) / 2, abs=2)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_mode_is_drawn(mode):
    assert annotate_image(make_image(0).convert(mode), predict()).mode == "RGB"


def test_image_turned_by_exif_stands_upright(tmp_path):
    path = tmp_path / "turned.jpg"
    path.write_bytes(encode_turned(make_image(0, width=400, height=330), 6, "<"))
    with Image.open(path) as image:
        annotated = annotate_image(image, predict())
    assert annotated.height == 400


def test_error_is_written_instead_of_bars():
    annotated = annotate_image(make_image(0), predict(probabilities=(), error="cut off"))
    assert bar_width(annotated) == 0


def test_written_names_are_unique_and_spare_the_inputs(tmp_path):
    names = ["a/x.jpg", "b/x.png", "x.jpg", "x_predicted.jpg"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(make_image(0), "PNG"))
    before = [(tmp_path / name).read_bytes() for name in names]

    def write_all():
        annotator = Annotator(tmp_path)
        return [annotator.write(predict(tmp_path / name)) for name in names]

    written = write_all()
    assert [path.name for path in written] == [
        "x_predicted_2.jpg",
        "x_predicted_3.jpg",
        "x_predicted_4.jpg",
        "x_predicted_predicted.jpg",
    ]
    assert [(tmp_path / name).read_bytes() for name in names] == before
    assert write_all() == written
    for path in written:
        with Image.open(path) as image:
            assert image.height == 320


def test_output_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="out: is a file"):
        Annotator(tmp_path / "out")


@pytest.mark.parametrize(
    ("box", "warm"),
    [
        ((0, 0, 1, 1), (slice(20, 40), slice(30, 60))),  # squash: the map's centre is the image's
        ((0, 0.25, 1, 0.75), (slice(20, 40), slice(40, 50))),  # crop: only the middle was seen
        ((-0.5, 0, 1.5, 1), (slice(10, 50), slice(30, 60))),  # pad: margins lie outside
    ],
)
def test_a_heat_map_lies_where_the_network_looked(box, warm):
    values = np.zeros((3, 3), np.float32)
    values[1, 1] = 1
    image = Image.new("RGB", (90, 60), (40, 90, 200))
    changed = (np.asarray(lay_heat_map(image, HeatMap(values, box))) != image).any(-1)
    assert changed[warm].all()
    rows, columns = np.nonzero(changed)
    assert abs(rows.mean() - 29.5) < 1
    assert abs(columns.mean() - 44.5) < 1


def test_a_heat_map_without_heat_says_so():
    image = make_image(0, width=400, height=330)
    dark = []
    for value in (0.0, 1.0):
        heat = HeatMap(np.full((4, 4), value, np.float32), (0.0, 0.0, 1.0, 1.0))
        one = Prediction(Path("x.jpg"), NAMES, (0.1, 0.6, 0.3), heat_map=heat)
        panel = np.asarray(annotate_image(image, one))[:, 800:]
        dark.append((panel.sum(axis=2) < 200).sum())
    assert dark[0] > 1.1 * dark[1]  # one line of text more


def test_the_heat_map_stands_between_image_and_panel():
    image = make_image(0, width=400, height=330)
    plain = annotate_image(image, predict())
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    heat = HeatMap(values, (0.0, 0.0, 1.0, 1.0))
    one = Prediction(Path("x.jpg"), NAMES, (0.1, 0.6, 0.3), heat_map=heat)
    annotated = annotate_image(image, one)
    assert annotated.width == plain.width + 400
    np.testing.assert_array_equal(annotated.crop((0, 0, 400, 330)), image)
