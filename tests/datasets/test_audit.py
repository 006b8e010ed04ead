"""Images that are broken, odd, repeated or flagged, and what the audit says of them."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.datasets.test_artefacts import PASTE, make_skin
from tests.datasets.tiny import make_image, make_records
from tfskin.datasets import audit as audit_module
from tfskin.datasets.association import count_artefacts, cramers_v, measure_associations
from tfskin.datasets.audit import audit_records, describe_problems
from tfskin.datasets.audit_report import write_audit
from tfskin.errors import UserError


@pytest.fixture
def records(tmp_path):
    """Twelve images: one cut off, one a web page, one CMYK, one a mirrored copy."""
    table = make_records(tmp_path, 12)
    data = (tmp_path / "image_003.png").read_bytes()
    (tmp_path / "image_003.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "image_004.png").write_text("<html>404</html>")
    make_image(5).convert("CMYK").save(tmp_path / "image_005.png", format="JPEG")
    copy = make_image(6).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    copy.save(tmp_path / "image_009.png")
    return table


def test_unusable_files_are_listed_with_the_reason_and_left_out(records):
    audit = audit_records(records)
    assert audit.problems["image_id"].tolist() == ["image_003", "image_004"]
    assert "is cut off" in audit.problems["problem"].iloc[0]
    assert "is a web page" in audit.problems["problem"].iloc[1]
    assert len(audit.records) == 10
    assert describe_problems(audit) == ("left out 2 unusable images: 'image_003', 'image_004'")
    with pytest.raises(UserError, match=r"image_003\.png: is cut off.*\(2 images cannot be"):
        audit_records(records, on_error="fail")
    with pytest.raises(UserError, match="none of 2 images can be used"):
        audit_records(records.iloc[3:5])


def test_odd_files_are_decoded_and_described(records):
    files = audit_records(records).files.set_index("image_id")
    assert files["oddities"]["image_005"] == "CMYK; a JPEG named .png"
    assert files["oddities"]["image_000"] == ""
    assert (files["width"]["image_000"], files["height"]["image_000"]) == (40, 30)


def test_a_mirrored_copy_of_another_label_is_reported(records):
    audit = audit_records(records)
    pairs = audit.pairs()
    assert pairs[["image_id_1", "image_id_2"]].to_numpy().tolist() == [["image_006", "image_009"]]
    row = pairs.iloc[0]
    assert row["same_lesion"] == "no"
    assert row["turn"] > 0
    assert row["conflict"] == (row["diagnosis_1"] != row["diagnosis_2"])
    assert row["conflict"]


def test_what_is_not_looked_for_is_unknown(records):
    audit = audit_records(records, near_duplicates=False, photographs=False, artefacts=False)
    assert audit.looked_for == ()
    assert audit.photographs is None
    assert audit.photograph_pairs().empty
    assert audit.duplicates.empty
    assert set(audit.records["hair"]) == {-1}


def test_a_long_search_says_how_long_before_it_starts(records, monkeypatch, news):
    monkeypatch.setattr(
        "tfskin.datasets.photographs.search.find_photographs", lambda *_, **__: 1 / 0
    )
    monkeypatch.setattr(audit_module, "_WORTH_SAYING", 0)
    monkeypatch.setattr(audit_module, "_CORE_SECONDS", 36)
    with pytest.raises(ZeroDivisionError):
        audit_records(records, artefacts=False, workers=2)
    assert "among 10 images: about 3 minutes on 2 free cores (--no-photographs" in news[-1]


def test_cramers_v_of_independent_and_of_equal_columns():
    first = pd.Series(list("aabb") * 5)
    assert cramers_v(first, first) == pytest.approx(1)
    assert cramers_v(first, pd.Series(list("xyxy") * 5)) == pytest.approx(0)
    assert np.isnan(cramers_v(first, pd.Series(list("xxxx") * 5)))


def test_a_field_of_one_value_is_known_and_says_nothing(records):
    table = records.assign(width=40, height=30)
    found = measure_associations(table).set_index("field")
    assert np.isnan(found["association"]["image size"])
    assert found["images"]["image size"] == len(table)
    assert found["images"]["sex"] == 0  # nobody says it


def test_a_sticker_that_gives_the_label_away_is_called_out(tmp_path):
    rng = np.random.default_rng(0)
    records = make_records(tmp_path, 24)
    for number, row in enumerate(records.to_dict("records")):
        skin = make_skin(number)
        if row["diagnosis"] == "nv" and number % 2:
            skin = PASTE["sticker"](skin, rng)
        skin.save(row["path"])
    audit = audit_records(records)
    counts = count_artefacts(audit.records).set_index("diagnosis")
    assert counts["sticker"].to_dict() == {"bcc": 0, "mel": 0, "nv": 4, "all": 4}
    strength = measure_associations(audit.files).set_index("field")["association"]
    assert strength["sticker"] > 0.5

    summary = write_audit(tmp_path / "out", audit, title="<b>tiny</b>")
    assert summary["artefacts"]["sticker"] == 4
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;b&gt;tiny" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "data.exclude: [sticker]" in page
    assert page.count("<figure>") >= 4
    assert len(pd.read_csv(tmp_path / "out" / "images.csv")) == 24
    assert pd.read_csv(tmp_path / "out" / "associations.csv")["field"][0] in ("sticker", "age")


def test_a_clinic_that_gives_the_label_away_is_called_out(tmp_path):
    records = make_records(tmp_path, 24)
    for number, path in enumerate(records["path"]):
        make_skin(number).save(path)
    records["clinic"] = records["diagnosis"].map({"nv": "a", "mel": "b"}).fillna("")
    records["skin_tone"] = "4"
    found = measure_associations(audit_records(records).files).set_index("field")
    assert found["association"]["clinic"] > 0.9
    assert {"fitzpatrick", "skin_tone"} <= set(found.index)
