"""The report says everything, escapes what it was given, and loads nothing."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tfskin.evaluation.metrics import confusion_matrix
from tfskin.evaluation.plots import plot_confusion_matrix
from tfskin.evaluation.report import (
    Case,
    Code,
    Facts,
    Paragraph,
    Plot,
    ReportContent,
    Section,
    Table,
    write_report,
)

VOID = {"meta", "img", "link", "br", "hr", "input"}
INTERVAL = {"value": 0.91249, "low": 0.88, "high": 0.9404, "undefined": 3}
ABSENT = {"value": None, "low": None, "high": None, "undefined": 100}


def content(**changes):
    matrix = confusion_matrix([0, 1, 1], [0, 1, 0], 2)
    image = np.full((20, 30, 3), 128, np.uint8)
    values = {
        "title": "five_layer & friends",
        "facts": {"Parameters": "1,234"},
        "notes": ["Reported on val."],
        "sections": [
            Section(
                heading="Figures",
                blocks=[
                    Table(
                        caption="By class",
                        headings=["Class", "Images", "AUC", "Warning"],
                        rows=[
                            ["<b>melanoma</b>", 6000, INTERVAL, ""],
                            ["nevus", 12, ABSENT, "too few"],
                            ["other", 1, {**INTERVAL, "low": None, "undefined": 0}, None],
                        ],
                        marked="nevus",
                    ),
                    Paragraph(text="How to read it."),
                    Paragraph(text="Take care.", warning=True),
                    Plot(
                        heading="Confusion matrix",
                        figure=plot_confusion_matrix(matrix, ["nevus", "melanoma"]),
                        alt="2 of 3 right",
                    ),
                ],
            ),
            Section(
                heading="Hardest cases",
                blocks=[Case(heading="ISIC_1", text="Why", images=[("seen", "a lesion", image)])],
            ),
            Section(heading="Left out", blocks=[]),
            Section(
                heading="How to reproduce",
                blocks=[Code(text="tfskin-train config.yaml"), Facts(values={"Seed": "0"})],
            ),
        ],
    }
    return ReportContent(**{**values, **changes})


class Checker(HTMLParser):
    """Fails on a tag that is not closed; keeps what is shown, referred to and how large it is."""

    def __init__(self):
        super().__init__()
        self.open, self.shown, self.references, self.images = [], [], [], []
        self.sort_keys = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.references += [v for k, v in attrs if k in ("src", "href")]
        if tag == "img":
            self.images.append(dict(attrs))
        self.sort_keys += [v for k, v in attrs if k == "data-sort"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.shown.append(data)


def read(tmp_path: Path, report: ReportContent) -> tuple[str, str, Checker]:
    write_report(tmp_path / "report.html", content=report)
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(source)
    assert checker.open == []
    return source, " ".join(" ".join(checker.shown).split()), checker


def test_says_everything(tmp_path: Path):
    _, shown, checker = read(tmp_path, content())
    for text in (
        "five_layer & friends",
        "Not a medical device.",
        "Reported on val.",
        "1,234",
        "By class",
        "0.912",
        "0.880–0.940",
        "†",
        "6,000",
        "too few",
        "How to read it.",
        "Take care.",
        "ISIC_1",
        "tfskin-train config.yaml",
        "Seed",
    ):
        assert text in shown
    assert "Left out" not in shown
    assert "None" not in shown
    assert "nan" not in shown.lower().split()
    assert "0.91249" in checker.sort_keys  # a table is sorted by the whole number


def test_every_image_has_a_size_and_words(tmp_path: Path):
    _, _, checker = read(tmp_path, content())
    assert [image["alt"] for image in checker.images] == ["2 of 3 right", "a lesion"]
    assert checker.images[1]["width"] == "30"
    assert checker.images[1]["height"] == "20"
    assert all(int(image["width"]) > 0 and int(image["height"]) > 0 for image in checker.images)


def test_loads_nothing_and_runs_only_its_own_script(tmp_path: Path):
    source, _, checker = read(tmp_path, content())
    assert all(one.startswith(("data:", "#")) for one in checker.references)
    assert not re.search(r"https?://|url\(|@import", source)
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in source


def test_shows_names_as_they_are(tmp_path: Path):
    source, shown, _ = read(tmp_path, content())
    assert "<b>melanoma</b>" not in source
    assert "<b>melanoma</b>" in shown


def test_same_content_same_file(tmp_path: Path):
    first, _, _ = read(tmp_path, content())
    again, _, _ = read(tmp_path, content())
    assert first == again


def test_a_row_of_another_length_is_refused_and_nothing_written(tmp_path: Path):
    table = Table(caption="Odd", headings=["a", "b"], rows=[["x"]])
    with pytest.raises(ValueError, match="'Odd': a row of 1 cells for 2 columns"):
        write_report(
            tmp_path / "report.html",
            content=content(sections=[Section(heading="S", blocks=[table])]),
        )
    assert list(tmp_path.iterdir()) == []
