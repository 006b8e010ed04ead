"""An audit as one self-contained HTML page and as tables."""

from __future__ import annotations

import base64
import math
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from tfskin.datasets.artefacts import DETECTORS
from tfskin.datasets.association import STRONG, count_artefacts, measure_associations
from tfskin.datasets.audit import Audit
from tfskin.datasets.images import read_image
from tfskin.errors import UserError
from tfskin.files import replace_file, write_json, write_text

TITLES = {"dark_corners": "dark corners", "hair": "hair", "sticker": "coloured stickers"}
TURN_NAMES = ("", "mirrored", "upside down", "half turn", "transposed", *["quarter turn"] * 2)
_THUMBNAIL = 160
_IN_GALLERY = 24
_PAIRS_SHOWN = 40
_ROWS_SHOWN = 200


def write_audit(folder: Path, audit: Audit, *, title: str) -> dict[str, Any]:
    """The summary of an audit; its tables and its page are written into ``folder``.

    ``images.csv`` has a row an image (problem, oddities, size, SHA-256, artefacts),
    ``duplicates.csv`` a row a pair, ``associations.csv`` a row a field, ``summary.json`` the
    counts, and ``report.html`` all of it with images.

    Args:
        folder: where the five files go.
        audit: what was found.
        title: what the page is headed.
    """
    usable = audit.files[audit.files["problem"] == ""]
    pairs, artefacts = audit.pairs(), count_artefacts(audit.records)
    associations = measure_associations(usable)
    summary = summarise_audit(audit, pairs, artefacts, associations)
    for name, table in (
        ("images", audit.files),
        ("duplicates", pairs),
        ("associations", associations),
    ):
        with replace_file(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")
    write_json(folder / "summary.json", summary)
    write_text(folder / "report.html", _render(audit, pairs, artefacts, associations, title))
    return summary


def summarise_audit(
    audit: Audit, pairs: pd.DataFrame, artefacts: pd.DataFrame, associations: pd.DataFrame
) -> dict[str, Any]:
    """Counts of what was found, ready for JSON: ``None`` for what was not looked for."""
    looked = "artefacts" in audit.looked_for
    totals = artefacts[artefacts["diagnosis"] == "all"].iloc[0]
    across = int((pairs["same_lesion"] == "no").sum())
    return {
        "images": len(audit.files),
        "usable": len(audit.records),
        "diagnoses": {
            str(name): int(n)
            for name, n in audit.records["diagnosis"].value_counts().sort_index().items()
        },
        "problems": len(audit.problems),
        "oddities": int((audit.files["oddities"] != "").sum()),
        "near_duplicate_pairs": len(pairs) if "near_duplicates" in audit.looked_for else None,
        "pairs_across_lesions": across,
        "pairs_of_two_diagnoses": int(pairs["conflict"].sum()),
        "artefacts": {name: int(totals[name]) for name in DETECTORS} if looked else None,
        "associations": {
            str(field): None if math.isnan(strength) else round(float(strength), 6)
            for field, strength in zip(
                associations["field"], associations["association"], strict=True
            )
        },
    }


def _render(
    audit: Audit,
    pairs: pd.DataFrame,
    artefacts: pd.DataFrame,
    associations: pd.DataFrame,
    title: str,
) -> str:
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("tfskin.datasets"), autoescape=True)
    by_id = dict(zip(audit.records["image_id"], audit.records["path"], strict=True))
    galleries = {}
    for name in DETECTORS:
        flagged = audit.records[audit.records[name] == 1]
        shown = flagged.head(_IN_GALLERY)
        cells = [
            (row["image_id"], row["diagnosis"], thumbnail(row["path"]))
            for row in shown.to_dict("records")
        ]
        galleries[name] = {"title": TITLES[name], "images": len(flagged), "cells": cells}
    order = pairs.sort_values(["conflict", "same_lesion"], ascending=[False, True], kind="stable")
    shown_pairs = [
        row
        | {
            "first": thumbnail(by_id[row["image_id_1"]]),
            "second": thumbnail(by_id[row["image_id_2"]]),
            "how": _name_turn(row["turn"]),
        }
        for row in order.head(_PAIRS_SHOWN).to_dict("records")
    ]
    odd = audit.files[(audit.files["problem"] == "") & (audit.files["oddities"] != "")]
    return environment.get_template("audit.html.j2").render(
        title=title,
        summary=summarise_audit(audit, pairs, artefacts, associations),
        problems=audit.problems.head(_ROWS_SHOWN).to_dict("records"),
        odd=odd.head(_ROWS_SHOWN).to_dict("records"),
        odd_count=len(odd),
        artefacts=artefacts.to_dict("records"),
        names=TITLES,
        associations=associations.to_dict("records"),
        strong=STRONG,
        galleries=galleries,
        pairs=shown_pairs,
        looked_for=audit.looked_for,
    )


def thumbnail(path: str) -> str:
    """A small JPEG of an image as a data URI, or "" when it cannot be read any more."""
    try:
        image = read_image(path, at_least=_THUMBNAIL)
    except UserError:
        return ""
    image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    stream = BytesIO()
    image.info.clear()
    image.save(stream, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _name_turn(turn: int) -> str:
    return TURN_NAMES[turn] if turn < len(TURN_NAMES) else "transposed"
