import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.serving.images import encode, encode_turned, make_image
from tfskin.serving.exif import read_orientation, turn_upright

read = tf.function(
    read_orientation, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_as_pillow_does(orientation, byte_order):
    data = encode_turned(make_image(0), orientation, byte_order)
    assert read(tf.constant(data)) == orientation
    with Image.open(io.BytesIO(data)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
        stored = np.asarray(image)
    np.testing.assert_array_equal(turn_upright(tf.constant(stored), orientation), upright)


def test_orientation_is_found_behind_other_segments():
    data = encode_turned(make_image(0), 6, "<")
    other = b"\xff\xfe\x00\x07hello" + b"\xff\xe1\x00\x08http:/" + b"\xff\xed\x00\x02"
    assert read(tf.constant(data[:2] + other + data[2:])) == 6


def test_images_without_orientation_are_upright():
    for data in (encode(make_image(0)), encode(make_image(0), "PNG"), b"", b"\xff\xd8"):
        assert read(tf.constant(data)) == 1


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_upright(value):
    assert read(tf.constant(encode_turned(make_image(0), value, ">"))) == 1


def test_orientation_survives_every_truncation():
    data = encode_turned(make_image(0), 8, ">")
    found = [int(read(tf.constant(data[:length]))) for length in range(120)]
    assert set(found) == {1, 8}


def test_orientation_survives_wild_offsets():
    data = bytearray(encode_turned(make_image(0), 8, ">"))
    start = data.index(b"MM")
    data[start + 4 : start + 8] = b"\xff" * 4
    assert read(tf.constant(bytes(data))) == 1


def test_a_file_of_endless_segments_ends():
    assert read(tf.constant(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 100_000)) == 0
