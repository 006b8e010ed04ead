"""scripts/compare_outputs.py: what it calls equal, and what it says of a difference."""

import json
import sys

import pytest

from tests.scripts import load_script

METRICS = {"splits": {"test": {"macro_auc": {"value": 0.75}}}, "training": {"minutes": 1.0}}
TABLE = "path,label,nevus,seconds\n/a/x.jpg,nevus,0.5,1\n/a/y.jpg,nevus,0.25,2\n"


@pytest.fixture
def folders(tmp_path):
    """Two folders of equal outputs, which differ in times and places."""
    for name in ("old", "new"):
        folder = tmp_path / name / "runs" / "net"
        (folder / "predictions").mkdir(parents=True)
        metrics = METRICS | {"training": {"minutes": len(str(folder))}}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "inputs.json").write_text(json.dumps({"shards": f"/{name}/phantom"}))
        table = TABLE.replace("/a/", f"/{name}/").replace(",2\n", f",{name}\n")
        (folder / "predictions" / "test.csv").write_text(table)
        (folder / "report.html").write_text(name)
    return tmp_path / "old", tmp_path / "new"


def compare(monkeypatch, capsys, *words):
    """The exit code and the printed lines."""
    monkeypatch.setattr(sys, "argv", ["compare_outputs", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        load_script("compare_outputs").main()
    return ended.value.code, capsys.readouterr().out.splitlines()


def test_times_and_places_are_no_difference(monkeypatch, capsys, folders):
    code, lines = compare(monkeypatch, capsys, *folders)
    assert code == 0
    assert lines == [
        "runs/net/inputs.json: equal",
        "runs/net/metrics.json: equal",
        "runs/net/predictions/test.csv: equal",
        "3 of 3 files are equal",
    ]


def test_a_figure_and_a_cell_that_differ_are_named(monkeypatch, capsys, folders):
    run = folders[1] / "runs" / "net"
    changed = METRICS | {"splits": {"test": {"macro_auc": {"value": 0.5}, "f1": None}}}
    (run / "metrics.json").write_text(json.dumps(changed))
    table = (run / "predictions" / "test.csv").read_text()
    (run / "predictions" / "test.csv").write_text(table.replace("0.25", "0.250001"))
    code, lines = compare(monkeypatch, capsys, *folders)
    assert code == 1
    assert lines[1] == (
        "runs/net/metrics.json: differs in 2 values, numbers by up to 0.25; "
        "first: splits.test.macro_auc.value is 0.75 and 0.5"
    )
    assert lines[2] == (
        "runs/net/predictions/test.csv: differs in 1 values, numbers by up to 1e-06; "
        'first: [3].nevus is "0.25" and "0.250001"'
    )
    _, lines = compare(monkeypatch, capsys, *folders, "--tolerance", "1e-5")
    assert lines[2].endswith("equal")


@pytest.mark.parametrize(
    "change",
    [
        lambda run: (run / "inputs.json").unlink(),
        lambda run: (run / "inputs.json").write_text('{"shards": "/new/other"}'),
        lambda run: (run / "inputs.json").write_text("{}"),
        lambda run: (run / "decision.json").write_text("{}"),
        lambda run: (run / "predictions" / "test.csv").write_text(TABLE[:50]),
        lambda run: (run / "predictions" / "test.csv").write_text(TABLE.replace("0.5", "nan")),
    ],
)
def test_what_is_missing_or_another_is_a_difference(monkeypatch, capsys, folders, change):
    change(folders[1] / "runs" / "net")
    code, lines = compare(monkeypatch, capsys, *folders)
    assert code == 1
    assert len([line for line in lines if "differs" in line]) == 1


def test_two_empty_folders_prove_nothing(monkeypatch, capsys, tmp_path):
    assert compare(monkeypatch, capsys, tmp_path, tmp_path)[0] == 1
