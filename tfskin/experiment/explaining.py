"""Why a run says what it says about an image."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfskin.datasets.images import read_image
from tfskin.ensembling import as_float32
from tfskin.errors import UserError, nearest_hint
from tfskin.evaluation.curve_plots import plot_explanation
from tfskin.evaluation.explanations import Explanation, embed, explain_images, nearest
from tfskin.evaluation.overlays import overlay_gradients, overlay_heat
from tfskin.evaluation.plots import save_figure
from tfskin.experiment.run_predictions import input_options, load_run_shards
from tfskin.inputs import damage_named, make_dataset, read_labels, resize_image
from tfskin.locks import only_writer
from tfskin.prediction.find import find_images, refuse_inside
from tfskin.progress import progress_bar
from tfskin.runs import Run, open_run

logger = logging.getLogger(__name__)

NEAREST = 3
MOST_KNOWN = 1000
"""Training images that the nearest are looked for among: the first ones in file order."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """Training images and their embeddings.

    Attributes:
        embeddings: (M, D) float32 of length 1.
        images: (M, H, W, 3) uint8.
        names: image id and diagnosis of each.
    """

    embeddings: np.ndarray
    images: np.ndarray
    names: list[tuple[str, str]]


def explain(
    run: Run | Path | str,
    images: Sequence[Path | str],
    *,
    output: Path | str | None = None,
    explained_class: str | None = None,
) -> pd.DataFrame:
    """One row an image: path, predicted class, its probability, explained class, image written.

    Writes for each image a PNG with the image as the network sees it, Grad-CAM, integrated
    gradients and the nearest training images by embedding.

    Args:
        run: a run directory.
        images: files, folders or glob patterns.
        output: where the PNGs go; ``<run>/explanations`` unless given.
        explained_class: what to explain; for each image its predicted class unless given.

    Raises:
        UserError: not a run, a run on windows, no image, a class that the run does not have, or an
            image that cannot be read.

    Example:
        >>> table = tfskin.explain("runs/first", ["lesion.jpg"], output="seen")
        >>> list(table.columns)
        ['path', 'predicted', 'probability', 'explained', 'picture']
    """
    run = run if isinstance(run, Run) else open_run(run)
    names = run.class_names()
    if run.inputs().windows is not None:
        raise UserError(
            f"{run.folder}: was trained on windows (data.windows), and only whole images can be "
            "explained; explain a run that was trained on them"
        )
    if explained_class is not None and explained_class not in names:
        hint = nearest_hint(explained_class, names)
        raise UserError(f"--class '{explained_class}': no class of {run.folder}{hint}")
    folder = Path(output) if output else run.folder / "explanations"
    refuse_inside(folder, images, option="--output")
    with only_writer(folder):
        return _explain(run, find_images(images), folder, explained_class)


def _explain(
    run: Run, paths: Sequence[Path], folder: Path, explained_class: str | None
) -> pd.DataFrame:
    names = run.class_names()
    model = as_float32(run.load_model())  # gradients of half precision underflow
    arrays = np.stack([_read(path, run) for path in paths])
    probabilities = run.decision().to_probabilities(model.predict(arrays, verbose=0))
    chosen = probabilities.argmax(axis=1)
    classes = (
        chosen if explained_class is None else np.full(len(paths), names.index(explained_class))
    )
    found = explain_images(model, arrays, classes)
    if found.note:
        logger.info(found.note)
    known, reason = find_known(run, model)
    if reason:
        logger.info(reason)
    rows = []
    near = nearest_images(model, arrays, known)
    for n, path in enumerate(paths):
        target = folder / f"{n + 1:03d}_{path.stem}.png"
        title = f"{path.name}: {names[chosen[n]]} {probabilities[n, chosen[n]]:.2f}"
        shown = [(caption, image) for caption, _, image in views_of(arrays[n], found, n, names)]
        shown += [(caption, image) for caption, _, image in near[n]]
        save_figure(plot_explanation(shown, title=title), target)
        rows.append(
            [
                str(path),
                names[chosen[n]],
                probabilities[n, chosen[n]],
                names[classes[n]],
                str(target),
            ]
        )
    return pd.DataFrame(rows, columns=["path", "predicted", "probability", "explained", "picture"])


def find_known(run: Run, model: keras.Model) -> tuple[Known | None, str]:
    """The first training images with their embeddings; where there are none the reason why."""
    try:
        shards = load_run_shards(run)
    except UserError as error:
        return None, f"No nearest training images: {error}"
    inputs, names = run.inputs(), run.class_names()
    facts = read_labels(shards, "train", inputs.classes).iloc[:MOST_KNOWN]
    if facts.empty:
        return None, "No nearest training images: the members were trained on different folds."
    kept: list[np.ndarray] = []

    def batches() -> Any:
        left = len(facts)
        for images, _ in make_dataset(shards, "train", options=input_options(inputs)):
            images = images[:left]
            kept.append(images.numpy().astype(np.uint8))
            left -= len(kept[-1])
            yield images
            if not left:
                return

    with progress_bar("embedding", total=len(facts)) as advance, damage_named(shards, "train"):
        embeddings = embed(model, batches(), advance=advance)
    labels = [names[index] for index in facts["label"]]
    pairs = list(zip(facts["image_id"].tolist(), labels, strict=True))
    return Known(embeddings=embeddings, images=np.concatenate(kept), names=pairs), ""


def nearest_images(
    model: keras.Model, images: np.ndarray, known: Known | None
) -> list[list[tuple[str, str, np.ndarray]]]:
    """For each image the captions, alternative texts and images of its nearest."""
    if known is None or not len(images):
        return [[] for _ in images]
    queries = embed(model, iter([images[i : i + 64] for i in range(0, len(images), 64)]))
    order, similarity = nearest(queries, known.embeddings, count=NEAREST)
    result = []
    for places, values in zip(order, similarity, strict=True):
        result.append(
            [
                (
                    f"near: {known.names[place][1]} ({value:.2f}), {known.names[place][0]}",
                    f"Training image {known.names[place][0]} of class {known.names[place][1]}",
                    known.images[place],
                )
                for place, value in zip(places, values, strict=True)
            ]
        )
    return result


def views_of(
    image: np.ndarray, found: Explanation, n: int, names: Sequence[str]
) -> list[tuple[str, str, np.ndarray]]:
    """The image, and the explanations laid over it."""
    name = names[found.classes[n]]
    views = [("as the network sees it", "The image at the network's size", _whole(image))]
    if found.grad_cam is not None:
        heat = overlay_heat(image, found.grad_cam[n])
        nowhere = ": no place speaks for it" * (not found.grad_cam[n].any())
        text = f"The image, bright where {name} was seen{nowhere}"
        views.append((f"Grad-CAM for {name}{nowhere}", text, heat))
    slopes = overlay_gradients(image, found.gradients[n])
    text = f"The image in grey, orange where a pixel speaks for {name}, blue against it"
    views.append((f"integrated gradients for {name}", text, slopes))
    return views


def _whole(image: np.ndarray) -> np.ndarray:
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _read(path: Path, run: Run) -> np.ndarray:
    inputs = run.inputs()
    image = np.asarray(read_image(path).convert("RGB"))
    return np.asarray(resize_image(image, inputs.image_size, inputs.resize), np.float32)
