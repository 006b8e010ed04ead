"""One self-contained HTML file: sections of text, sortable tables and images."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from tfskin.evaluation.plots import show_names_as_they_are
from tfskin.files import write_text

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """A few sentences; ``warning`` sets them apart."""

    text: str
    warning: bool = False
    kind: str = "paragraph"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and what they are."""

    values: Mapping[str, str]
    kind: str = "facts"


@dataclass(frozen=True, kw_only=True)
class Code:
    """Text as it stands."""

    text: str
    kind: str = "code"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows that a reader can sort by any column.

    Attributes:
        caption: what the table shows.
        headings: one a column.
        rows: a row is one cell a column: text, a number, None (a dash), or a figure with its
            interval (``{"value", "low", "high", "undefined"}``).
        marked: the row that is set apart, by its first cell.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    marked: str | None = None
    kind: str = "table"

    @classmethod
    def of(
        cls,
        entries: Mapping[str, Mapping[str, Any]],
        columns: Mapping[str, str],
        *,
        caption: str,
        first: str,
        marked: str | None = None,
    ) -> Table:
        """A row an entry: its name, then what it holds below the keys of ``columns``.

        Args:
            entries: name -> values by key.
            columns: key -> heading.
            caption: what the table shows.
            first: the heading of the column of names.
            marked: the name of the row that is set apart.
        """
        rows = [[name, *(one[key] for key in columns)] for name, one in entries.items()]
        return cls(caption=caption, headings=[first, *columns.values()], rows=rows, marked=marked)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure drawn by :mod:`tfskin.evaluation.plots`.

    Attributes:
        heading: below it.
        figure: the figure.
        alt: what it shows, in words, for those who can't see it.
    """

    heading: str
    figure: Figure
    alt: str
    kind: str = "plot"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Images of one image side by side.

    Attributes:
        heading: above them.
        text: below the heading.
        images: ``(caption, alternative text, (H, W, 3) uint8)`` each.
    """

    heading: str
    text: str
    images: Sequence[tuple[str, str, npt.NDArray[np.uint8]]]
    kind: str = "case"


Block = Paragraph | Facts | Code | Table | Plot | Case


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what is below it."""

    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything that a report says.

    Attributes:
        title: of the page.
        sections: in their order; one without blocks is left out.
        facts: short facts below the title.
        notes: sentences that a reader must know, shown above everything.
    """

    title: str
    sections: Sequence[Section]
    facts: Mapping[str, str] | None = None
    notes: Sequence[str] = ()


def write_report(path: Path | str, *, content: ReportContent) -> None:
    """Write the report as one HTML file, atomically; it loads nothing from anywhere.

    Its one script sorts tables; the page's security policy names it by its hash and allows no
    other, and no address.

    Raises:
        ValueError: a row of a table has another number of cells than the table has columns.
    """
    sections = [section for section in content.sections if section.blocks]
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Table):
                _check_table(block)
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    text = _template().render(
        content=content,
        sections=sections,
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )
    write_text(path, text)


def figure_uri(figure: Figure) -> str:
    """A figure as a ``data:`` address of an SVG; the same figure gives the same address."""
    buffer = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tfskin"}):
        show_names_as_they_are(figure)
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def image_uri(image: npt.NDArray[np.uint8]) -> str:
    """(H, W, 3) uint8 as a ``data:`` address of a JPEG of quality 90."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _check_table(table: Table) -> None:
    for row in table.rows:
        if len(row) != len(table.headings):
            raise ValueError(
                f"table '{table.caption}': a row of {len(row)} cells for "
                f"{len(table.headings)} columns"
            )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure_uri"] = figure_uri
    environment.filters["image_uri"] = image_uri
    environment.filters["sides"] = _sides
    environment.filters["number"] = _number
    environment.filters["decimals"] = _decimals
    environment.filters["text_column"] = _is_text_column
    environment.filters["groups"] = _neighbours
    environment.filters["anchor"] = lambda text: "".join(c if c.isalnum() else "-" for c in text)
    environment.tests["interval"] = lambda cell: isinstance(cell, Mapping)
    return environment.get_template("report.html.j2")


def _sides(figure: Figure) -> tuple[int, int]:
    """Width and height of a figure in CSS pixels."""
    width, height = figure.get_size_inches()
    return round(width * 96), round(height * 96)


def _number(cell: Any) -> str:
    return f"{cell:,}" if isinstance(cell, int) else _decimals(cell)


def _decimals(value: float) -> str:
    """Three decimals with a real minus; what rounds to 0 has none."""
    text = f"{value:.3f}".replace("-", "−")
    return "0.000" if text == "−0.000" else text


def _is_text_column(table: Table, place: int) -> bool:
    return any(isinstance(row[place], str) for row in table.rows)


def _neighbours(blocks: Sequence[Block]) -> list[tuple[str, list[Block]]]:
    """Runs of blocks of the same kind: plots stand side by side where there is room."""
    return [(kind, list(run)) for kind, run in groupby(blocks, key=lambda block: block.kind)]
