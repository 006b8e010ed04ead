from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serving.pictures import encode, encode_turned, make_picture
from tfskin.annotation import annotate_image, write_annotated
from tfskin.errors import UserError
from tfskin.prediction import Prediction

NAMES = ["bkl", "mel", "nv"]
ORANGE = (213, 94, 0)


def predict(path="lesion.jpg", probabilities=(0.1, 0.6, 0.3), error=""):
    return Prediction(Path(path), NAMES, probabilities, error)


def bar_width(image, color=ORANGE):
    matches = (np.asarray(image) == color).all(-1)
    return int(matches.sum(1).max())


@pytest.mark.parametrize("size", [(200, 150), (150, 200), (3000, 2000), (1, 1), (900, 40)])
def test_picture_stands_left_of_a_readable_panel(size):
    annotated = annotate_image(make_picture(0, width=size[0], height=size[1]), predict())
    assert annotated.mode == "RGB"
    assert annotated.height >= max(320, size[1])
    assert annotated.width >= size[0] + 250
    assert bar_width(annotated) > 40


def test_a_large_picture_keeps_its_pixels():
    picture = make_picture(0, width=700, height=500)
    annotated = annotate_image(picture, predict())
    np.testing.assert_array_equal(annotated.crop((0, 0, 700, 500)), picture)


def test_bars_are_as_long_as_the_probabilities():
    picture = Image.new("RGB", (500, 500))
    long, short = (
        annotate_image(picture, predict(probabilities=p)) for p in ((0, 1, 0), (0, 0.5, 0))
    )
    assert bar_width(short) == pytest.approx(bar_width(long) / 2, abs=2)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_mode_is_drawn(mode):
    assert annotate_image(make_picture(0).convert(mode), predict()).mode == "RGB"


def test_picture_turned_by_exif_stands_upright(tmp_path):
    path = tmp_path / "turned.jpg"
    path.write_bytes(encode_turned(make_picture(0, width=400, height=330), 6, "<"))
    with Image.open(path) as image:
        annotated = annotate_image(image, predict())
    assert annotated.height == 400


def test_error_is_written_instead_of_bars():
    annotated = annotate_image(make_picture(0), predict(probabilities=(), error="cut off"))
    assert bar_width(annotated) == 0


def test_written_names_are_unique_and_spare_the_inputs(tmp_path):
    names = ["a/x.jpg", "b/x.png", "x.jpg", "x_predicted.jpg"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(make_picture(0), "PNG"))
    before = [(tmp_path / name).read_bytes() for name in names]
    predictions = [predict(tmp_path / name) for name in names]
    predictions.append(predict(tmp_path / "gone.jpg", (), "no such file"))
    written = write_annotated(predictions, tmp_path)
    assert [path.name for path in written] == [
        "x_predicted_2.jpg",
        "x_predicted_3.jpg",
        "x_predicted_4.jpg",
        "x_predicted_predicted.jpg",
    ]
    assert [(tmp_path / name).read_bytes() for name in names] == before
    assert write_annotated(predictions, tmp_path) == written
    for path in written:
        with Image.open(path) as image:
            assert image.height == 320


def test_output_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="out: is a file"):
        write_annotated([predict()], tmp_path / "out")
