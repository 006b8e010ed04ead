"""Images -> predictions: in order, all cores busy, a few batches in memory."""

import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from tfskin.datasets.decoding import read_bytes
from tfskin.datasets.images import read_image, shrink_image
from tfskin.errors import UserError
from tfskin.prediction.answers import Answers, HeatMap, Prediction
from tfskin.prediction.options import StreamOptions
from tfskin.prediction.predictors import Predictor
from tfskin.prediction.windows import cut_windows, mean_of_windows
from tfskin.progress import progress_bar
from tfskin.schema import WindowConfig
from tfskin.threads import map_ahead

NO_ANSWER = "the model gives no probabilities for it (not finite, or not summing to 1)"
SUM_SLACK = 1e-3
"""How far from 1 probabilities may sum: a server may compute in half precision."""


@dataclass(frozen=True)
class _Answer:
    """One image's row of :class:`Answers`."""

    probabilities: tuple[float, ...]
    malignancy: float | None
    prediction_set: tuple[str, ...] | None

    def is_none(self) -> bool:
        """Whether the numbers are no probabilities: not finite, below 0, or not summing to 1."""
        values = np.array(self.probabilities)
        finite = np.isfinite([*values, 0.0 if self.malignancy is None else self.malignancy])
        return not (finite.all() and values.min() >= 0 and abs(values.sum() - 1) <= SUM_SLACK)


def predict_images(
    predictor: Predictor,
    paths: Iterable[Path | str],
    *,
    options: StreamOptions | None = None,
    total: int | None = None,
) -> Iterator[Prediction]:
    """One prediction for each image, in order, with a few batches in memory at a time.

    An image that cannot be read gets a prediction with an ``error`` and harms no other. Formats
    that the model does not take (TIFF, WebP) are read by Pillow and handed on as PNG. Files of
    one batch are read while the model works on another.

    Args:
        predictor: the model.
        paths: files.
        options: size of a batch, windows, heat maps.
        total: the number of images, for the progress bar; not needed for a list.
    """
    options = options or StreamOptions()
    if isinstance(paths, Sequence):
        total = len(paths)
    rest = iter(paths)

    def batches() -> Iterator[list[Path]]:
        while batch := [Path(path) for path in islice(rest, options.batch_size)]:
            yield batch

    work = partial(_predict_batch, predictor, options=options)
    found = map_ahead(work, batches(), workers=predictor.parallel, ahead=predictor.parallel)
    with progress_bar("predicting", total=total) as advance, closing(found):
        for predictions in found:
            yield from predictions
            advance(len(predictions))


def _predict_batch(
    predictor: Predictor, paths: list[Path], options: StreamOptions
) -> list[Prediction]:
    names = predictor.class_names
    errors = dict.fromkeys(paths, "")
    trained = predictor.windows.windows if predictor.windows else None
    windows = options.windows or trained
    images = {} if windows else {path: _read_bytes(path) for path in paths}
    rows = _predict_encoded(predictor, images)
    for path in [path for path in rows if rows[path].is_none()]:
        del rows[path], images[path]
        errors[path] = NO_ANSWER
    # What the model cannot read, Pillow may, as it did for the training images.
    for path in dict.fromkeys(paths):
        if path in rows or errors[path]:
            continue
        try:
            if windows:
                rows[path] = _predict_windows(predictor, path, windows, options.batch_size)
            else:
                images[path] = encode_png(_open(path))
                rows |= _predict_encoded(predictor, {path: images[path]})
            errors[path] = (
                "" if path in rows else "too large, too small or too narrow for the model"
            )
            if path in rows and rows[path].is_none():
                del rows[path]
                errors[path] = NO_ANSWER
        except UserError as fault:
            # "path: what is wrong; what to do", of which a table needs what is wrong.
            errors[path] = str(fault).removeprefix(f"{path}: ").split("; ")[0]
    maps: dict[Path, HeatMap] = {}
    if options.heat_maps and not windows and predictor.explain and rows:
        maps = dict(zip(rows, predictor.explain([images[path] for path in rows]), strict=True))
    return [
        Prediction(path, names, (), errors[path])
        if path not in rows
        else Prediction(path, names, **vars(rows[path]), heat_map=maps.get(path))
        for path in paths
    ]


def _predict_encoded(predictor: Predictor, encoded: dict[Path, bytes]) -> dict[Path, _Answer]:
    """The answer for every file that the model can read."""
    if not encoded:
        return {}
    answers = predictor.function(list(encoded.values()))
    return {
        path: _row(predictor, answers, row)
        for row, path in enumerate(encoded)
        if answers.valid[row]
    }


def _row(predictor: Predictor, answers: Answers, row: int) -> _Answer:
    members = None
    if answers.prediction_set is not None:
        pairs = zip(predictor.class_names, answers.prediction_set[row], strict=True)
        members = tuple(name for name, inside in pairs if inside)
    malignancy = None if answers.malignancy is None else float(answers.malignancy[row])
    return _Answer(tuple(map(float, answers.probabilities[row])), malignancy, members)


def _predict_windows(
    predictor: Predictor, path: Path, windows: WindowConfig, batch_size: int
) -> _Answer:
    image, trained = _open(path), predictor.windows
    if trained is not None and trained.max_side is not None:
        image = shrink_image(image, trained.max_side)
    encoded = (encode_png(window) for window in cut_windows(image, windows))
    parts = []
    while batch := list(islice(encoded, batch_size)):
        answers = predictor.function(batch)
        if not answers.valid.all():
            raise UserError(f"{path}: too large, too small or too narrow for the model")
        if any(_row(predictor, answers, row).is_none() for row in range(len(batch))):
            raise UserError(f"{path}: {NO_ANSWER}")
        parts.append(answers)
    probabilities, malignancy = mean_of_windows(parts)
    if trained is not None:
        return _row(predictor, trained.decide(probabilities[np.newaxis]), 0)
    return _Answer(tuple(map(float, probabilities)), malignancy, None)


def _read_bytes(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except UserError:
        return b""  # read_image will say why


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return read_image(path)


def encode_png(image: Image.Image) -> bytes:
    """The bytes of a PNG file of an image, made fast rather than small."""
    stream = io.BytesIO()
    image.info.clear()  # a profile or comment of the source would be written again
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
