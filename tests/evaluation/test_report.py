"""The report says everything, escapes what it was given, and loads nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import confusion_matrix
from tfskin.evaluation.plots import plot_confusion_matrix
from tfskin.evaluation.report import DataCard, Plot, ReportContent, write_report

NAMES = ["nevus", "<b>melanoma</b>"]
VOID = {"meta", "img", "link", "br", "hr", "input"}


def figures(*, seed=0, missing=False):
    random = np.random.default_rng(seed)
    labels = np.zeros(40, dtype=int) if missing else np.arange(40) % 2
    probabilities = random.dirichlet(np.ones(2), 40)
    return bootstrap_intervals(labels, probabilities, np.arange(40), NAMES, resamples=100)


def content(**changes):
    matrix = confusion_matrix([0, 1, 1], [0, 1, 0], 2)
    values = {
        "title": "five_layer & friends",
        "splits": {"val": figures(seed=1), "test": figures()},
        "main_split": "test",
        "config": "name: five_layer\nseed: 0\n",
        "command": "tfskin-train config.yaml",
        "data": DataCard(
            name="ham10000",
            version="1.0.0",
            fingerprint="0123abcd",
            counts={"train": {"nv": 6000, "mel": 900}, "test": {"nv": 1100}},
            licenses={"CC-BY-NC": 7999, "": 1},
        ),
        "plots": [
            Plot(
                heading="Confusion matrix",
                figure=plot_confusion_matrix(matrix, ["nevus", "melanoma"]),
                alt="Confusion matrix: 2 of 3 right",
            )
        ],
        "facts": {"Model": "five_layer"},
        "notes": ["Reported on val."],
    }
    return ReportContent(**{**values, **changes})


class Checker(HTMLParser):
    """Fails on a tag that is not closed; keeps what is shown and what is referred to."""

    def __init__(self):
        super().__init__()
        self.open, self.shown, self.references, self.alts = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.references += [v for k, v in attrs if k in ("src", "href")]
        self.alts += [v for k, v in attrs if k == "alt"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.shown.append(data)


def read(tmp_path: Path, report: ReportContent) -> tuple[str, str, Checker]:
    write_report(tmp_path / "report.html", content=report)
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(source)
    assert checker.open == []
    return source, " ".join(" ".join(checker.shown).split()), checker


def test_says_everything(tmp_path: Path):
    report = content()
    _, shown, checker = read(tmp_path, report)
    macro = report.splits["test"]["macro_auc"]
    for text in (
        "five_layer & friends",
        "Not a medical device.",
        "Reported on val.",
        f"{macro['value']:.3f}",
        f"{macro['low']:.3f}–{macro['high']:.3f}",
        "95 % interval: percentiles of 100 bootstrap resamples",
        "ham10000 1.0.0",
        "0123abcd",
        "6,000",
        "CC-BY-NC",
        "unknown",
        "tfskin-train config.yaml",
        "name: five_layer",
    ):
        assert text in shown
    assert checker.alts == ["Confusion matrix: 2 of 3 right"]


def test_loads_nothing(tmp_path: Path):
    source, _, checker = read(tmp_path, content())
    assert [reference[:26] for reference in checker.references] == ["data:image/svg+xml;base64,"]
    assert "<script" not in source
    assert not re.search(r"https?://|url\(|@import", source)


def test_shows_names_as_they_are(tmp_path: Path):
    source, shown, _ = read(tmp_path, content())
    assert "<b>melanoma</b>" not in source
    assert "<b>melanoma</b>" in shown


def test_members_stand_beside_the_ensemble(tmp_path: Path):
    members = {"first": figures(seed=2), "second": figures(seed=3)}
    _, shown, _ = read(tmp_path, content(members=members))
    assert "Members beside the ensemble" in shown
    assert f"{members['second']['accuracy']['value']:.3f}" in shown
    _, shown, _ = read(tmp_path, content())
    assert "Members" not in shown


def test_figures_without_a_value_say_so(tmp_path: Path):
    _, shown, _ = read(tmp_path, content(splits={"test": figures(missing=True)}, notes=()))
    assert "Macro AUC leaves out nevus, <b>melanoma</b>: no value in test." in shown
    assert "nan" not in shown.lower().split()
    assert "None" not in shown


def test_a_report_without_data_or_plots(tmp_path: Path):
    _, shown, _ = read(tmp_path, content(data=None, plots=(), facts={}, notes=()))
    assert "How to reproduce" in shown
    assert "Fingerprint" not in shown


def test_same_content_same_file(tmp_path: Path):
    first, _, _ = read(tmp_path, content())
    again, _, _ = read(tmp_path, content())
    assert first == again


def test_a_main_split_that_is_not_there_is_refused_and_nothing_written(tmp_path: Path):
    with pytest.raises(ValueError, match="main_split 'blind' is not in"):
        write_report(tmp_path / "report.html", content=content(main_split="blind"))
    assert list(tmp_path.iterdir()) == []
