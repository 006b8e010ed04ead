"""What every test shares: quiet TensorFlow, and where the real images may lie."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

from tests.news import hear

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


@pytest.fixture
def news() -> Iterator[list[str]]:
    """The lines that tfskin tells its user in the course of a test."""
    lines: list[str] = []
    with hear(lines.append):
        yield lines


TINY = [
    "model.image_size=32",
    "model.widths=[4, 4, 8, 8, 8]",
    "train.epochs=2",
    "train.batch_size=16",
    "evaluate.resamples=100",
    "evaluate.reliance_images=0",
    "evaluate.explained_images=0",
]
"""Overrides that make any experiment small enough for a test."""


@pytest.fixture(scope="session")
def phantom_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of finished shards of 60 phantom lesions."""
    import tfskin
    from tfskin.datasets.options import PhantomOptions, SourceOptions

    phantoms = PhantomOptions(lesions=60, image_size=(48, 64))
    options = tfskin.PrepareOptions(source=SourceOptions(phantom=phantoms))
    output = tmp_path_factory.mktemp("tfrecords")
    return tfskin.prepare("phantom", output=output, options=options).folder


@pytest.fixture(scope="session")
def tiny_runs(tmp_path_factory: pytest.TempPathFactory, phantom_shards: Path) -> list[Path]:
    """Two finished runs on the phantoms, of the RGB and of the HSV net."""
    import tfskin

    folder = tmp_path_factory.mktemp("runs")
    runs = []
    for space in ("rgb", "hsv"):
        overrides = [*TINY, f"data.shards={phantom_shards}"]
        config = tfskin.read_config(f"five_layer_{space}.yaml", overrides)
        run = tfskin.train(config, output=folder / space)
        runs.append(run.folder)
    return runs


@pytest.fixture(scope="session")
def half_precision_run(tmp_path_factory: pytest.TempPathFactory, phantom_shards: Path) -> Path:
    """A finished run that was trained under mixed_bfloat16."""
    import tfskin

    more = ["train.precision=mixed_bfloat16", "train.epochs=1", f"data.shards={phantom_shards}"]
    config = tfskin.read_config("five_layer_rgb.yaml", [*TINY, *more])
    folder = tmp_path_factory.mktemp("runs") / "half"
    return tfskin.train(config, output=folder).folder
