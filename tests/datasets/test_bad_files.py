"""A corpus of bad pictures and broken tables: each decoded, or said in one line what is wrong."""

import re
from functools import partial

import numpy as np
import pytest

import tfskin
from tests.scripts import load_script
from tfskin.datasets.audit import audit_records
from tfskin.datasets.options import OnError
from tfskin.datasets.pictures import encode_picture, map_pictures, read_picture, stored_sides
from tfskin.datasets.sources import read_records
from tfskin.errors import UserError

CORPUS = load_script("make_bad_files")
PICTURES, TABLES = CORPUS.list_pictures(), CORPUS.list_tables()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The table of all bad pictures."""
    return CORPUS.write_pictures(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def found(pictures):
    """What the audit says of each, by name."""
    return audit_records(read_records("table", pictures)).files.set_index("image_id")


def test_the_corpus_is_as_large_as_it_should_be():
    assert len(PICTURES) >= 40
    assert len(TABLES) >= 20


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_decoded_or_listed_with_the_reason(found, name):
    picture, row = PICTURES[name], found.loc[name]
    if picture.decoded:
        assert row["problem"] == ""
        assert re.search(picture.said, row["oddities"])
        assert (row["oddities"] == "") == (picture.said == "")
        return
    assert re.search(picture.said, row["problem"])
    assert row["path"] in row["problem"]
    assert "\n" not in row["problem"]
    assert re.search("; (download|shrink|crop|save) it", row["problem"])


def test_what_is_decoded_is_upright_rgb_and_readable_by_tensorflow(pictures):
    import tensorflow as tf

    names = [name for name, picture in PICTURES.items() if picture.decoded]
    paths = [str(pictures.parent / "pictures" / name) for name in names]
    encode = partial(encode_picture, max_side=64, jpeg_quality=95)
    decoded = map_pictures(read_picture, paths, title="", workers=1)
    stored = map_pictures(encode, paths, title="", workers=1)
    for name, image, kept in zip(names, decoded, stored, strict=True):
        assert image.mode == "RGB", name
        assert (kept.width, kept.height) == image.size, name
        expected = stored_sides(np.array(image.size), 64)
        assert tf.io.decode_jpeg(kept.data, channels=3).shape == (*expected[::-1], 3), name


def test_prepare_stops_at_the_first_or_goes_on_without_them(pictures, tmp_path, news):
    def prepare(on_error: OnError):
        options = tfskin.PrepareOptions(on_error=on_error, name="corpus")
        return tfskin.prepare("table", pictures, output=tmp_path, options=options)

    listed = [name for name, bad in PICTURES.items() if not bad.decoded]
    with pytest.raises(UserError, match=rf"\({len(listed)} pictures cannot be used"):
        prepare("fail")
    assert not (tmp_path / "corpus").exists()
    shards = prepare("skip")
    kept = sum(sum(counts.values()) for counts in shards.counts.values())
    assert kept == len(PICTURES) - len(listed)
    assert any(f"left out {len(listed)} unusable pictures" in line for line in news)


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
