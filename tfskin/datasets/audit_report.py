"""An audit as one self-contained HTML page and as tables."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from tfskin.datasets.artefacts import DETECTORS
from tfskin.datasets.association import STRONG, count_artefacts, measure_associations
from tfskin.datasets.audit import Audit
from tfskin.datasets.images import read_image
from tfskin.datasets.leaks import Leaks, judge_split
from tfskin.datasets.photographs.overlay import lay_over
from tfskin.datasets.photographs.probability import REPORTING
from tfskin.errors import UserError
from tfskin.files import replace_file, write_json, write_text

TITLES = {"dark_corners": "dark corners", "hair": "hair", "sticker": "coloured stickers"}
TURN_NAMES = ("", "mirrored", "upside down", "half turn", "transposed", *["quarter turn"] * 2)
_THUMBNAIL = 160
_IN_GALLERY = 24
_PAIRS_SHOWN = 40
_ROWS_SHOWN = 200


@dataclass(frozen=True)
class AuditTables:
    """What of an audit is written: pairs by name, counts of artefacts, associations, leaks."""

    duplicates: pd.DataFrame
    photographs: pd.DataFrame
    artefacts: pd.DataFrame
    associations: pd.DataFrame
    leaks: Leaks | None


def write_audit(
    folder: Path, audit: Audit, *, title: str, splits: pd.Series | None = None
) -> dict[str, Any]:
    """The summary of an audit; its tables and its page are written into ``folder``.

    ``images.csv`` has a row an image (problem, oddities, size, SHA-256, artefacts),
    ``duplicates.csv`` a row a near-duplicate pair, ``photographs.csv`` a row a pair of
    photographs of one lesion, ``associations.csv`` a row a field, ``summary.json`` the counts,
    and ``report.html`` all of it with images. With ``splits``, ``leaks.csv`` has a row for each
    pair of images of one lesion on two sides.

    Args:
        folder: where the files go.
        audit: what was found.
        title: what the page is headed.
        splits: a split to judge: of each of the audit's records, "" for one that is in none.
    """
    usable = audit.files[audit.files["problem"] == ""]
    tables = AuditTables(
        audit.pairs(),
        audit.photograph_pairs(),
        count_artefacts(audit.records),
        measure_associations(usable),
        None if splits is None else judge_split(audit, splits),
    )
    summary = summarise_audit(audit, tables)
    files = {
        "images": audit.files,
        "duplicates": tables.duplicates,
        "photographs": tables.photographs,
        "associations": tables.associations,
    }
    if tables.leaks is not None:
        files["leaks"] = tables.leaks.pairs
    for name, table in files.items():
        with replace_file(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")
    write_json(folder / "summary.json", summary)
    write_text(folder / "report.html", _render(audit, tables, summary, title))
    return summary


def summarise_audit(audit: Audit, tables: AuditTables) -> dict[str, Any]:
    """Counts of what was found, ready for JSON: ``None`` for what was not looked for."""
    looked = "artefacts" in audit.looked_for
    totals = tables.artefacts[tables.artefacts["diagnosis"] == "all"].iloc[0]
    pairs = tables.duplicates
    sure = tables.photographs["probability"] >= REPORTING
    photographs = tables.photographs[sure]
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
        "pairs_across_lesions": int((pairs["same_lesion"] == "no").sum()),
        "pairs_of_two_diagnoses": int(pairs["conflict"].sum()),
        "photograph_pairs": len(photographs) if "photographs" in audit.looked_for else None,
        "uncertain_photograph_pairs": int((~sure).sum()),
        "photographs_across_lesions": int((photographs["same_lesion"] == "no").sum()),
        "photographs_of_two_diagnoses": int(photographs["conflict"].sum()),
        "leaks": None if tables.leaks is None else tables.leaks.counts,
        "artefacts": {name: int(totals[name]) for name in DETECTORS} if looked else None,
        "associations": {
            str(field): None if math.isnan(strength) else round(float(strength), 6)
            for field, strength in zip(
                tables.associations["field"], tables.associations["association"], strict=True
            )
        },
    }


def _render(audit: Audit, tables: AuditTables, summary: dict[str, Any], title: str) -> str:
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
    shown_pairs = [
        row
        | {
            "first": thumbnail(by_id[row["image_id_1"]]),
            "second": thumbnail(by_id[row["image_id_2"]]),
            "how": _name_turn(row["turn"]),
        }
        for row in _choose_pairs(tables.duplicates)
    ]
    worth_a_look = tables.photographs[tables.photographs["probability"] >= REPORTING]
    odd = audit.files[(audit.files["problem"] == "") & (audit.files["oddities"] != "")]
    return environment.get_template("audit.html.j2").render(
        title=title,
        summary=summary,
        problems=audit.problems.head(_ROWS_SHOWN).to_dict("records"),
        odd=odd.head(_ROWS_SHOWN).to_dict("records"),
        odd_count=len(odd),
        artefacts=tables.artefacts.to_dict("records"),
        names=TITLES,
        associations=tables.associations.to_dict("records"),
        strong=STRONG,
        reporting=round(100 * REPORTING),
        galleries=galleries,
        pairs=shown_pairs,
        photographs=show_aligned(_choose_pairs(worth_a_look), by_id),
        leaks=[] if tables.leaks is None else show_aligned(_choose_leaks(tables.leaks), by_id),
        leaked_pairs=0 if tables.leaks is None else len(tables.leaks.pairs),
        photographs_worth_a_look=len(worth_a_look),
        looked_for=audit.looked_for,
    )


def _choose_pairs(pairs: pd.DataFrame) -> list[dict[str, Any]]:
    """The first of the pairs: those of two diagnoses before others, then those of two lesions."""
    order = pairs.sort_values(["conflict", "same_lesion"], ascending=[False, True], kind="stable")
    return _choose(order)


def _choose_leaks(leaks: Leaks) -> list[dict[str, Any]]:
    """The first pairs with an image of test, then others; photographs before other evidence."""
    pairs = leaks.pairs
    of_test = (pairs["split_1"] == "test") | (pairs["split_2"] == "test")
    return _choose(pd.concat([pairs[of_test], pairs[~of_test]]))


def _choose(pairs: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): value for name, value in row.items()}
        for row in pairs.head(_PAIRS_SHOWN).to_dict("records")
    ]


def show_aligned(pairs: list[dict[str, Any]], paths: dict[str, str]) -> list[dict[str, Any]]:
    """Pairs with two small images each: of linked photographs, the first lies over the second.

    Args:
        pairs: rows of ``Audit.photograph_pairs`` or ``Leaks.pairs``.
        paths: image id -> its file.
    """
    shown = []
    for row in pairs:
        try:
            images = [read_image(paths[row[f"image_id_{n}"]], at_least=400) for n in (1, 2)]
        except UserError:
            shown.append(row | {"first": "", "second": ""})
            continue
        first, second = images
        if row["probability"] > 0:  # a pair of ids or the hash alone has no transform
            first, second = lay_over(first, second, row)
        shown.append(row | {"first": encode_thumbnail(first), "second": encode_thumbnail(second)})
    return shown


def thumbnail(path: str) -> str:
    """A small JPEG of an image as a data URI, or "" when it cannot be read any more."""
    try:
        return encode_thumbnail(read_image(path, at_least=_THUMBNAIL))
    except UserError:
        return ""


def encode_thumbnail(image: Image.Image) -> str:
    """A small JPEG of an image as a data URI; the image is shrunk in place."""
    image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    stream = BytesIO()
    image.info.clear()
    image.save(stream, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _name_turn(turn: int) -> str:
    return TURN_NAMES[turn] if turn < len(TURN_NAMES) else "transposed"
