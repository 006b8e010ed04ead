"""What every test shares: quiet TensorFlow, and where the real images may lie."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

# Time is never asserted: a busy machine would fail a sound test.
settings.register_profile("tfskin", deadline=None, max_examples=50)
settings.load_profile("tfskin")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_ham10000() -> Path:
    """The folder of real HAM10000 images; the test is skipped where it is missing."""
    folder = SHARED / "ham10000"
    if not folder.is_dir():
        pytest.skip("the real HAM10000 images (../shared/data/ham10000) are not here")
    return folder


@pytest.fixture(scope="session")
def real_isic_archive() -> Path:
    """The folder of real ISIC Archive images; the test is skipped where it is missing."""
    folder = SHARED / "isic_archive"
    if not folder.is_dir():
        pytest.skip("the real ISIC Archive images (../shared/data/isic_archive) are not here")
    return folder
