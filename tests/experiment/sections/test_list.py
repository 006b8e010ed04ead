"""Every section is in the list, and no two write the same part of ``metrics.json``."""

import importlib
import pkgutil
from pathlib import Path

from tests.experiment.sections.made import made_evaluation, made_predictions
from tfskin.evaluation.decision import Decision
from tfskin.evaluation.report import Paragraph
from tfskin.experiment import sections
from tfskin.experiment.sections import report
from tfskin.experiment.sections.base import ReportSection

FOLDER = Path(sections.__file__).parent


def test_each_file_has_one_section_and_the_list_has_them_all():
    found = []
    for module in pkgutil.iter_modules([str(FOLDER)]):
        file = importlib.import_module(f"{sections.__name__}.{module.name}")
        own = [
            value
            for value in vars(file).values()
            if isinstance(value, type)
            and issubclass(value, ReportSection)
            and value.__module__ == file.__name__
        ]
        assert len(own) == (0 if module.name == "report" else 1), module.name
        found += [value for value in own if value is not ReportSection]
    assert {type(section) for section in sections.SECTIONS} == set(found)
    assert len(sections.SECTIONS) == len(found)


def test_no_two_sections_share_a_heading_or_a_key():
    headings = [section.heading for section in sections.SECTIONS]
    keys = [key for section in sections.SECTIONS for key in section.keys]
    assert len(headings) == len(set(headings))
    assert len(keys) == len(set(keys))


class Rare(ReportSection):
    """A section that applies to nothing."""

    heading = "Rare"
    keys = ("rare",)

    def applies(self, evaluation):
        return False

    def show(self, evaluation, metrics):
        return [Paragraph(text="never seen")]


class Common(ReportSection):
    """A section that is always there."""

    heading = "Common"
    keys = ("common",)

    def compute(self, evaluation):
        return {"common": len(evaluation.headline)}

    def show(self, evaluation, metrics):
        return [Paragraph(text=f"{metrics['common']} images of {evaluation.split}")]


def test_a_section_that_does_not_apply_is_null_and_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "SECTIONS", (Rare(), Common()))
    decision = Decision(class_names=("a", "b"))
    evaluation = made_evaluation({"val": made_predictions(["a", "b"])}, decision, folder=tmp_path)
    metrics = report.compute_sections(evaluation)
    assert metrics == {"rare": None, "common": 24}
    about = {"parameters": 1, "trainable_parameters": 1, "flops": 1}
    report.write_run_report(evaluation, {**metrics, "model": about})
    shown = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "24 images of val" in shown
    assert "The data have no test split" in shown
    assert "Rare" not in shown
