"""A corpus of bad images and broken tables: each decoded, or said in one line what is wrong."""

import re
from functools import partial

import numpy as np
import pytest

import tfskin
from tests.scripts import load_script
from tfskin.datasets.audit import audit_records
from tfskin.datasets.images import encode_image, map_images, read_image, stored_sides
from tfskin.datasets.options import OnError
from tfskin.datasets.sources import read_records
from tfskin.errors import UserError

CORPUS = load_script("make_bad_files")
IMAGES, TABLES = CORPUS.list_images(), CORPUS.list_tables()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The table of all bad images."""
    return CORPUS.write_images(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def found(images):
    """What the audit says of each, by name."""
    return audit_records(read_records("table", images)).files.set_index("image_id")


def test_the_corpus_is_as_large_as_it_should_be():
    assert len(IMAGES) >= 40
    assert len(TABLES) >= 20


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_decoded_or_listed_with_the_reason(found, name):
    image, row = IMAGES[name], found.loc[name.replace(".", "_")]
    if image.decoded:
        assert row["problem"] == ""
        assert re.search(image.said, row["oddities"])
        assert (row["oddities"] == "") == (image.said == "")
        return
    assert re.search(image.said, row["problem"])
    assert row["path"] in row["problem"]
    assert "\n" not in row["problem"]
    assert re.search("; (download|shrink|crop|save) it", row["problem"])


def test_what_is_decoded_is_upright_rgb_and_readable_by_tensorflow(images):
    import tensorflow as tf

    names = [name for name, image in IMAGES.items() if image.decoded]
    paths = [str(images.parent / "images" / name) for name in names]
    encode = partial(encode_image, max_side=64, jpeg_quality=95)
    decoded = map_images(read_image, paths, title="", workers=1)
    stored = map_images(encode, paths, title="", workers=1)
    for name, image, kept in zip(names, decoded, stored, strict=True):
        assert image.mode == "RGB", name
        assert (kept.width, kept.height) == image.size, name
        expected = stored_sides(np.array(image.size), 64)
        assert tf.io.decode_jpeg(kept.data, channels=3).shape == (*expected[::-1], 3), name


def test_prepare_stops_at_the_first_or_goes_on_without_them(images, tmp_path, news):
    def prepare(on_error: OnError):
        options = tfskin.PrepareOptions(on_error=on_error, name="corpus")
        return tfskin.prepare("table", images, output=tmp_path, options=options)

    listed = [name for name, bad in IMAGES.items() if not bad.decoded]
    with pytest.raises(UserError, match=rf"\({len(listed)} images cannot be used"):
        prepare("fail")
    assert not (tmp_path / "corpus").exists()
    shards = prepare("skip")
    kept = sum(sum(counts.values()) for counts in shards.counts.values())
    assert kept == len(IMAGES) - len(listed)
    assert any(f"left out {len(listed)} unusable images" in line for line in news)


@pytest.mark.parametrize("name", TABLES)
def test_a_broken_table_is_refused_in_one_line(tmp_path, name):
    table = TABLES[name]
    CORPUS.write_table(tmp_path, table)
    with pytest.raises(UserError, match=table.said) as caught:
        read_records(table.source, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(tmp_path))
    files = [file for file in table.files if file.endswith(".csv")]
    assert not files or str(tmp_path / files[0]) in message
    assert "; " in message  # what is wrong; what to do
