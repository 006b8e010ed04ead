"""No encoding looks otherwise when it is prepared or served than it does in Pillow."""

import pytest

from tests.scripts import load_script
from tests.serving.encodings import make_encodings

# Each stands for a kind that once was shown otherwise, without a word.
KNOWN = {
    "JPEG lossless colour 1": ("re-encoded", "refused"),
    "JPEG lossless grey 1": ("re-encoded", "refused"),
    "JPEG arithmetic": ("equal", "equal"),
    "JPEG CMYK baseline 0 q95": ("re-encoded", "equal"),
    "JPEG CMYK baseline 0 q95 without markers": ("re-encoded", "equal"),
    "JPEG CMYK baseline 0 q95 Adobe 2": ("re-encoded", "equal"),
    "JPEG with 'Adobe' in a profile": ("re-encoded", "equal"),
    "JPEG EXIF 6 <": ("re-encoded", "equal"),
    "JPEG EXIF 6 > as TIFF type 4": ("re-encoded", "equal"),
    "JPEG EXIF 6 < as TIFF type 1": ("equal", "equal"),
    "JPEG EXIF 6 after 300 tags": ("re-encoded", "equal"),
    "JPEG EXIF 6 of a strange byte order": ("equal", "equal"),
    "JPEG EXIF before the scan": ("re-encoded", "equal"),
    "JPEG EXIF after fill bytes": ("re-encoded", "equal"),
    "JPEG EXIF after 254 comments": ("re-encoded", "equal"),
    "JPEG XMP 6": ("equal", "equal"),
    "JPEG with wide profile": ("equal", "equal"),
    "JPEG with large profile and EXIF 6": ("re-encoded", "equal"),
    "PNG type 2, 8 bits": ("equal", "equal"),
    "PNG type 2, 16 bits": ("re-encoded", "equal"),
    "PNG type 2, 8 bits, transparent": ("re-encoded", "refused"),
    "PNG type 3, 4 bits, interlaced, transparent": ("re-encoded", "refused"),
    "PNG type 6, 16 bits, interlaced": ("re-encoded", "equal"),
    "PNG with EXIF 6": ("re-encoded", "equal"),
    "PNG with EXIF 6 at its end": ("re-encoded", "equal"),
    "PNG with raw EXIF 6": ("re-encoded", "refused"),
    "PNG with gamma 1.0": ("equal", "equal"),
    "PNG without a palette": ("refused", "refused"),
    "PNG with too few pixels": ("refused", "refused"),
    "GIF palette interlaced 1": ("re-encoded", "equal"),
    "GIF clear interlaced 0": ("re-encoded", "refused"),
    "GIF of a larger screen": ("re-encoded", "refused"),
    "BMP RGB": ("re-encoded", "equal"),
    "BMP P": ("re-encoded", "refused"),
    "TIFF CMYK tiff_lzw": ("re-encoded", "refused"),
    "WebP lossy with alpha": ("re-encoded", "refused"),
}


@pytest.fixture(scope="module")
def compared():
    encodings = list(make_encodings(1))
    assert len(encodings) > 500
    sample = [pair for number, pair in enumerate(encodings) if number % 5 == 0 or pair[0] in KNOWN]
    return {row.name: row for row in load_script("compare_decoders").compare(sample)}


def test_no_encoding_is_silently_something_else(compared):
    script = load_script("compare_decoders")
    assert [row for row in compared.values() if script.SILENT in row] == []


def test_what_becomes_of_each_kind(compared):
    found = {name: (compared[name].prepared, compared[name].served) for name in KNOWN}
    assert found == KNOWN
