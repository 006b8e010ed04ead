"""Prepare as an Apache Beam pipeline: the same shards, the same errors, nothing left behind."""

import sys
from pathlib import Path

import pytest

import tfskin
from tests.datasets.tiny import make_records, read_examples, split_evenly, write_tiny
from tfskin.datasets import audit, beam, shards_on_beam
from tfskin.datasets.audit import audit_records
from tfskin.datasets.options import BeamRun, ShardOptions
from tfskin.datasets.shard_writing import write_shards
from tfskin.datasets.shards import Shards
from tfskin.errors import UserError
from tfskin.progress import is_quiet

TWO_PROCESSES = "--direct_num_workers=2 --direct_running_mode=multi_processing"


def run_here(task, elements, options) -> None:
    for element in [*elements, elements[0]]:
        task(element)


@pytest.fixture
def in_this_process(monkeypatch) -> None:
    """Small pieces, done one after the other without Beam, the first of them twice."""
    monkeypatch.setattr(beam, "_parse_options", lambda words: None)
    monkeypatch.setattr(
        beam,
        "_run_pipeline",
        lambda task, elements, options: [*map(task, elements), task(elements[0])],
    )
    monkeypatch.setattr(audit, "_PIECE", 5)
    monkeypatch.setattr(shards_on_beam, "_MOST_RECORDS_OF_A_PIECE", 5)


def image_ids(shards: Shards) -> dict[str, list[str]]:
    return {
        split: [example["image_id"] for file in files for example in read_examples(file)]
        for split, files in shards.files.items()
    }


def test_pieces_make_the_same_shards(tiny_records, tiny_shards, tmp_path, in_this_process):
    made = write_tiny(tiny_records, tmp_path, beam=BeamRun("", tmp_path / "tiny"))
    assert made.fingerprint == tiny_shards.fingerprint
    assert made.counts == tiny_shards.counts
    assert image_ids(made) == image_ids(tiny_shards)
    assert len(made.files["train"]) > len(tiny_shards.files["train"])
    names = {path.name for path in made.folder.iterdir()}
    assert not [name for name in names if name.startswith(".")]
    assert len([name for name in names if "tfrecord" in name]) == sum(map(len, made.files.values()))
    assert [path.name for path in made.folder.parent.iterdir()] == ["1.0.0"]


def test_pieces_find_what_one_pass_finds(tmp_path, in_this_process):
    records = make_records(tmp_path / "images", 12)
    Path(records["path"][7]).write_bytes(b"no image")
    found = audit_records(records, beam=BeamRun("", tmp_path / "work"))
    expected = audit_records(records)
    assert not is_quiet()  # the workers are, this process is not
    assert found.files.equals(expected.files)
    assert found.duplicates.equals(expected.duplicates)
    assert not (tmp_path / "work").exists()


def test_audit_reads_pieces_too(tmp_path, in_this_process, monkeypatch):
    table = make_records(tmp_path / "images", 12)[["image_id", "path", "diagnosis"]]
    table.rename(columns={"diagnosis": "label"}).to_csv(tmp_path / "table.csv", index=False)
    pieces: list[object] = []
    monkeypatch.setattr(
        beam,
        "_run_pipeline",
        lambda task, elements, options: pieces.extend([*map(task, elements), *elements]),
    )
    found = {}
    for name, words in (("plain", None), ("beam", "")):
        options = tfskin.PrepareOptions(beam_options=words, on_error="skip")
        found[name] = tfskin.audit(
            "table", tmp_path / "table.csv", output=tmp_path / name, options=options
        )
    assert pieces
    assert found["beam"] == found["plain"]
    names = ["images.csv", "duplicates.csv", "photographs.csv", "associations.csv"]
    names += ["summary.json", "report.html"]
    assert {path.name for path in (tmp_path / "beam").iterdir()} == set(names)
    for name in names[:3]:
        assert (tmp_path / "beam" / name).read_text() == (tmp_path / "plain" / name).read_text()


def test_a_broken_image_is_named_and_leaves_nothing(tmp_path, in_this_process):
    records = make_records(tmp_path / "images", 12)
    Path(records["path"][7]).write_bytes(b"no image")
    splits, groups = split_evenly(records)
    options = ShardOptions(beam=BeamRun("", tmp_path / "out" / "tiny"))
    with pytest.raises(UserError, match=r"image_007\.png: is no image"):
        write_shards(
            records, splits, groups, name="tiny", output_dir=tmp_path / "out", options=options
        )
    assert not list(tmp_path.glob("out/*"))


def test_without_beam_the_line_says_how_to_install_it(tiny_records, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    with pytest.raises(UserError, match=r"pip install 'tfskin\[beam\]'"):
        audit_records(tiny_records, beam=BeamRun("", tmp_path / "work"))
    assert not (tmp_path / "work").exists()


@pytest.fixture
def real_beam() -> None:
    pytest.importorskip(
        "apache_beam", reason="Apache Beam has a lock of its own: requirements-beam.lock"
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--direct_num_worker=2", "Beam knows no --direct_num_worker"),
        ("--direct_running_mode=fast", "invalid choice: 'fast'"),
        ("'open", "No closing quotation"),
    ],
)
def test_options_that_beam_does_not_know(tiny_records, tmp_path, real_beam, words, message):
    with pytest.raises(UserError, match=message):
        audit_records(tiny_records, beam=BeamRun(words, tmp_path / "work"))


@pytest.mark.filterwarnings("ignore")
def test_two_processes_make_the_same_shards(tmp_path, real_beam):
    records = make_records(tmp_path / "images", 40)
    Path(records["path"][7]).write_bytes(b"no image")
    table = tmp_path / "images.csv"
    records.rename(columns={"diagnosis": "label"}).to_csv(table, index=False)
    made = []
    for name, options in (("plain", None), ("beam", TWO_PROCESSES)):
        chosen = tfskin.PrepareOptions(name="tiny", on_error="skip", beam_options=options)
        made.append(tfskin.prepare("table", table, output=tmp_path / name, options=chosen))
    assert made[1].fingerprint == made[0].fingerprint
    assert image_ids(made[1]) == image_ids(made[0])
    texts = [(shards.folder / "splits.csv").read_text() for shards in made]
    assert texts[0] == texts[1]
