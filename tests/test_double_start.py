"""Every command that writes is refused where another process writes the same place."""

import shutil
from pathlib import Path

import pytest

import tfskin
from tests.conftest import TINY
from tests.holding import another_writer
from tests.serving.images import encode, make_image
from tfskin.datasets.options import PhantomOptions, PrepareOptions, SourceOptions
from tfskin.datasets.sources.phantom import write_phantoms
from tfskin.errors import UserError
from tfskin.experiment.finding_rate import find_rate
from tfskin.experiment.predicting import load_predictor, stream_predictions
from tfskin.experiment.repeating import train_several
from tfskin.experiment.varying import train_variants
from tfskin.prediction.options import PredictOptions
from tfskin.runs import open_run
from tfskin.schema import ComparisonConfig, ExternalConfig
from tfskin.serving.runtimes import RuntimeExport, export_runtime
from tfskin.training.options import Repeats

FEW = PrepareOptions(source=SourceOptions(phantom=PhantomOptions(lesions=20)))


def stream(runs, **options):
    options = {name: Path(value) for name, value in options.items()}
    predictor = load_predictor(runs[0])
    list(stream_predictions(predictor, ["lesion.jpg"], options=PredictOptions(**options)))


def config_of(shards):
    return tfskin.read_config("five_layer_rgb.yaml", [*TINY, f"data.shards={shards}"])


def compared(shards):
    base = config_of(shards).model_dump(mode="json")
    return ComparisonConfig(
        **base, variants={"a": ["model.dropout=0.1"], "b": ["model.dropout=0.2"]}
    )


def other_data(shards):
    names = {"melanoma": ["melanoma"], "nevus": ["nevus"]}
    return ExternalConfig(name="other", shards=str(shards), classes=names, fold=names)


# What is written -> the command that writes it, called with two runs and their shards.
COMMANDS = {
    "tfrecords/phantom": lambda r, s: tfskin.prepare("phantom", options=FEW),
    "tfrecords/phantom/1.0.0": lambda r, s: tfskin.prepare("phantom", options=FEW),
    "drawn": lambda r, s: write_phantoms("drawn", options=FEW.source.phantom),
    "audits/phantom": lambda r, s: tfskin.audit("phantom", options=FEW),
    "runs/new": lambda r, s: tfskin.train(config_of(s), output="runs/new"),
    "runs/other": lambda r, s: tfskin.train(config_of(s), output="runs/other", overwrite=True),
    "find_lr/five_layer_rgb.csv": lambda r, s: find_rate(config_of(s)),
    "runs/a": lambda r, s: train_several(config_of(s), Repeats(seeds=2), output="runs/a"),
    "runs/b": lambda r, s: train_variants(compared(s), output="runs/b"),
    "runs/both": lambda r, s: tfskin.ensemble(
        tfskin.EnsembleConfig(members=list(map(str, r))), output="runs/both"
    ),
    "runs/rgb": lambda r, s: tfskin.evaluate("runs/rgb"),
    "figures": lambda r, s: tfskin.evaluate(r[0], output="figures"),
    "runs/rgb/external/other": lambda r, s: tfskin.evaluate("runs/rgb", external=other_data(s)),
    "comparison": lambda r, s: tfskin.compare(r),
    "runs/rgb/explanations": lambda r, s: tfskin.explain("runs/rgb", ["lesion.jpg"]),
    "exports/rgb": lambda r, s: tfskin.export(r[0]),
    "exports/rgb.tflite": lambda r, s: export_runtime(
        open_run(r[0]).load_model(),
        options=RuntimeExport(graph_of(r[0]), "exports", "rgb", "litert"),
        samples=samples_of(r[0]),
    ),
    "all.csv": lambda r, s: tfskin.predict(r[0], ["lesion.jpg"], output="all.csv"),
    "rows.csv": lambda r, s: stream(r, output="rows.csv"),
    "seen": lambda r, s: stream(r, annotate="seen"),
}


def graph_of(run):
    from tfskin.experiment.exporting import read_graph_options

    return read_graph_options(open_run(run))


def samples_of(run):
    from tfskin.experiment.run_predictions import load_run_shards
    from tfskin.inputs import read_samples

    return read_samples(load_run_shards(open_run(run)), limit=2)


@pytest.mark.parametrize("written", COMMANDS)
def test_a_second_process_is_refused_and_writes_nothing(
    tmp_path, monkeypatch, tiny_runs, phantom_shards, written
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_runs[0], "runs/rgb")
    Path("lesion.jpg").write_bytes(encode(make_image(0)))
    with another_writer(written) as process:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        with pytest.raises(UserError, match=f"process {process.pid} has been writing it since"):
            COMMANDS[written](tiny_runs, phantom_shards)
        found = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
        assert found == {path: before[path] for path in found}
        assert set(found) == {path for path in before if path.is_file()}
