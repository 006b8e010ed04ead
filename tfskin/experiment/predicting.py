"""A run, a SavedModel or a server, and images -> predictions."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from tfskin.annotation import Annotator
from tfskin.datasets.finding import LeftOut
from tfskin.errors import UserError
from tfskin.experiment.exporting import read_graph_options
from tfskin.files import digest_files
from tfskin.locks import only_writer
from tfskin.prediction.answers import Prediction
from tfskin.prediction.find import STANDARD_INPUT, count_images, iterate_images, refuse_inside
from tfskin.prediction.options import PredictOptions, StreamOptions
from tfskin.prediction.predictors import (
    Predictor,
    keras_predictor,
    saved_model_predictor,
    server_predictor,
    window_predictor,
)
from tfskin.prediction.stream import predict_images
from tfskin.prediction.tables import RowWriter, predictions_table, write_predictions
from tfskin.runs import Run, open_run
from tfskin.serving.options import ServerOptions

logger = logging.getLogger(__name__)

URL_STARTS = ("http://", "https://", "grpc://")


@dataclass
class Counts:
    """How many images a stream of predictions has handled so far."""

    images: int = 0
    unreadable: int = 0
    resumed: int = 0


def predict(
    target: Run | Path | str,
    images: Sequence[Path | str],
    *,
    output: Path | str | None = None,
    annotate: Path | str | None = None,
    batch_size: int = 32,
    trust: bool = False,
) -> pd.DataFrame:
    """One row an image: path, predicted class, its probability, one column per class, error.

    An image that cannot be read has a reason in ``error`` and no probabilities; it never stops
    the others. For more images than a table holds, see :func:`stream_predictions`.

    Args:
        target: a run directory, a SavedModel folder, or the URL of a model on a server.
        images: files, folders, glob patterns or tables of paths.
        output: a CSV or JSON lines file to write.
        annotate: a folder for the images with their class probabilities drawn beside them.
        batch_size: images a step.
        trust: load a SavedModel whose graph has operations on files, hosts or Python, too.

    Raises:
        UserError: the target is neither a run nor a SavedModel, or no image was found.

    Example:
        >>> table = tfskin.predict("runs/first", ["lesion.jpg"])
        >>> list(table.columns)[:3]
        ['path', 'predicted', 'probability']
    """
    stream = StreamOptions(batch_size=batch_size, heat_maps=annotate is not None)
    _check_output(output, images)
    with nullcontext() if output is None else only_writer(output):
        predictor = load_predictor(target, trust=trust)
        options = PredictOptions(annotate=annotate, stream=stream)
        rows = list(stream_predictions(predictor, images, options=options))
        if output is not None:
            write_predictions(rows, output, class_names=predictor.class_names)
    return predictions_table(rows, class_names=predictor.class_names)


def stream_predictions(
    predictor: Predictor,
    images: Sequence[Path | str],
    *,
    options: PredictOptions | None = None,
    counts: Counts | None = None,
) -> Iterator[Prediction]:
    """The predictions of any number of images, one after another, written as they come.

    A killed call that is made again goes on where its file ends; images that have a row
    already are neither predicted nor given again. It goes on with the same model only, not with
    one that was trained, judged or served anew under its name.

    Args:
        predictor: of :func:`load_predictor`.
        images: files, folders, glob patterns, tables of paths, ``-`` for paths on standard input.
        options: where the result goes.
        counts: what is counted while the predictions are used up.

    Raises:
        UserError: no image was found, or a file that is in the way.
    """
    options = options or PredictOptions()
    if options.annotate is not None:
        refuse_inside(options.annotate, images, option="--annotate")
    with ExitStack() as held:
        for path in (options.output, options.annotate):
            if path is not None:
                held.enter_context(only_writer(path))
        yield from _stream(predictor, images, options, counts or Counts())


def _stream(
    predictor: Predictor, images: Sequence[Path | str], options: PredictOptions, counts: Counts
) -> Iterator[Prediction]:
    left_out = LeftOut()
    total = count_images(images, left_out=left_out)
    left_out.say("images")
    windows = options.stream.windows
    _check_output(options.output, images)
    paths = iterate_images(images)
    annotator = Annotator(options.annotate) if options.annotate is not None else None
    writer = None
    if options.output is not None:
        writer = RowWriter(
            options.output,
            class_names=predictor.class_names,
            extras=_extras(predictor, options),
            identity={
                "model": predictor.name,
                "version": predictor.version,
                "windows": windows and windows.model_dump(),
            },
        )
        pass_over = None if annotator is None else annotator.pass_over
        counts.resumed = writer.skip_done(paths, pass_over=pass_over)
        if counts.resumed:
            logger.info(f"{writer.part}: {counts.resumed} images are there already; going on")
    rest = None if total is None else total - counts.resumed
    rows: list[Prediction] = []
    for one in predict_images(predictor, paths, options=options.stream, total=rest):
        counts.images += 1
        counts.unreadable += bool(one.error)
        if annotator is not None and not one.error:
            annotator.write(one)
        if writer is not None:
            rows.append(one)
        if writer is not None and len(rows) >= options.stream.batch_size:
            writer.write(rows)
            rows = []
        yield one
    if writer is not None:
        writer.write(rows)
        writer.finish()


def load_predictor(
    target: Run | Path | str, *, server: ServerOptions | None = None, trust: bool = False
) -> Predictor:
    """What classifies encoded images: a run, a SavedModel folder, or a model on a server.

    Args:
        target: which.
        server: time limits and retries for a URL.
        trust: whether a SavedModel's graph may do more than compute.
    """
    if not isinstance(target, Run) and str(target).startswith(URL_STARTS):
        return server_predictor(str(target), options=server)
    if isinstance(target, Run) or (Path(target) / "inputs.json").is_file():
        run = target if isinstance(target, Run) else open_run(target)
        model, options, inputs = run.load_model(), read_graph_options(run), run.inputs()
        if inputs.windows is None:
            predictor = keras_predictor(model, options=options)
        else:
            predictor = window_predictor(
                model, options=options, windows=inputs.windows, max_side=inputs.max_side
            )
        version = digest_files(run.model_path, run.folder / "decision.json")
        return replace(predictor, name=str(run.folder), version=version)
    if not Path(target).is_dir():
        raise UserError(f"{target}: no such folder; give a run, a SavedModel or a URL")
    return saved_model_predictor(Path(target), trust=trust)


def _extras(predictor: Predictor, options: PredictOptions) -> list[str]:
    if options.stream.windows is None or predictor.windows is not None:
        return list(predictor.extras)
    # Fitted on whole images, prediction sets hold for them only.
    return [name for name in predictor.extras if name == "malignancy"]


def _check_output(output: Path | str | None, images: Sequence[Path | str]) -> None:
    if output is None:
        return
    output = Path(output)
    if output.is_dir():
        raise UserError(f"{output}: is a folder; --output names a file")
    if not output.exists():
        return
    given = [image for image in images if str(image) != STANDARD_INPUT]
    if given and output.resolve() in (path.resolve() for path in iterate_images(given)):
        raise UserError(f"{output}: is one of the images; give --output another name")
    if output.resolve() in (Path(image).resolve() for image in given):
        raise UserError(f"{output}: is the table of paths; give --output another name")
