"""Files that the bridge makes itself, when they are sent: text as it is, a JSON object as a PDF for people to read.

A claim dossier lives in the ledger as the JSON text of an attachment, so that it is approved, explained and repeated
like any words. Whoever sends the attachment asks here for its bytes: the PDF is made from the same JSON at that moment,
and the same JSON always makes the same bytes. No PDF is stored, and no policy has to make one.

Chinese is set in STSong-Light (traditional forms in MSung-Light), fonts that PDF readers bring with them and the file
does not have to carry.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any, Final
from xml.sax.saxutils import escape

import tomli

from rmabridge.model import Attachment

PDF: Final = "application/pdf"
FONT: Final = "STSong-Light"
TRADITIONAL: Final = "MSung-Light"
MOST_CELL: Final = 2000
MOST_ROW: Final = 200  # characters of a cell; Chinese in a narrow column must still fit on a page


def content(file: Attachment) -> bytes:
    """The bytes of an attachment that carries its own text."""
    if file.text is None:
        raise ValueError(f"{file.name} carries no text of its own")
    return pdf(json.loads(file.text)) if file.media_type == PDF else file.text.encode()


def pdf(document: dict[str, Any]) -> bytes:
    """A JSON object as a document of one heading and one block for each of its parts; ``title`` is the heading."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer

    heading, label, line = _styles()
    title = _clean(document.get("title", ""))
    story: list[Any] = [Paragraph(title, heading)]
    for name, value in document.items():
        if name == "title" or value in (None, "", [], {}):
            continue
        story.append(Paragraph(_label(name), label))
        story += [Paragraph(one, line) for one in _lines(value)]
        story.append(Spacer(1, 2 * mm))
    out = BytesIO()
    margins = {"leftMargin": 20 * mm, "rightMargin": 20 * mm, "topMargin": 18 * mm, "bottomMargin": 18 * mm}
    SimpleDocTemplate(out, pagesize=A4, invariant=1, title=title, author="rmabridge", **margins).build(story)
    return out.getvalue()


def form(
    title: str, facts: dict[str, str], columns: Sequence[str], rows: Sequence[Sequence[str]], *, locale: str
) -> bytes:
    """A heading, facts by name, and a table whose cells break over lines and pages; ``locale`` chooses the font."""
    from reportlab.lib.pagesizes import A4, landscape
    from reportlab.lib.units import mm
    from reportlab.platypus import LongTable, Paragraph, SimpleDocTemplate, Spacer

    heading, label, line = _styles(TRADITIONAL if locale == "zh-TW" else FONT)
    story: list[Any] = [Paragraph(_clean(title), heading)]
    story += [Paragraph(f"{_clean(name)}: {_clean(value)}", line) for name, value in facts.items()]
    story.append(Spacer(1, 4 * mm))
    cells = [[Paragraph(_clean(one), label) for one in columns]]
    cells += [[Paragraph(_clean(one), line) for one in row] for whole in rows for row in _short(whole)]
    widths = [share * 265 * mm for share in _shares(len(columns))]
    story.append(LongTable(cells, colWidths=widths, repeatRows=1, style=_grid()))
    out = BytesIO()
    margins = {"leftMargin": 15 * mm, "rightMargin": 15 * mm, "topMargin": 15 * mm, "bottomMargin": 15 * mm}
    page = SimpleDocTemplate(out, pagesize=landscape(A4), invariant=1, title=title, author="rmabridge", **margins)
    page.build(story)
    return out.getvalue()


def _shares(columns: int) -> list[float]:
    """How wide the columns are: the third, of the words, is the widest."""
    parts = [3.0 if number == 2 else 1.0 for number in range(columns)]
    return [one / sum(parts) for one in parts]


def _short(row: Sequence[str]) -> Iterator[list[str]]:
    """A row as rows that fit on a page."""
    for start in range(0, max([1, *map(len, row)]), MOST_ROW):
        yield [one[start : start + MOST_ROW] for one in row]


def _grid() -> list[tuple[Any, ...]]:
    from reportlab.lib.colors import grey

    return [("GRID", (0, 0), (-1, -1), 0.4, grey), ("VALIGN", (0, 0), (-1, -1), "TOP")]


@cache
def _styles(font: str = FONT) -> tuple[Any, Any, Any]:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.pdfmetrics import registerFont

    registerFont(UnicodeCIDFont(font))

    def style(name: str, size: int, before: int) -> Any:
        return ParagraphStyle(
            name, fontName=font, fontSize=size, leading=size * 1.4, spaceBefore=before, wordWrap="CJK"
        )

    return style("heading", 15, 0), style("label", 11, 6), style("line", 9, 0)


@cache
def _labels() -> dict[str, str]:
    text = (files(__package__) / "data" / "dossier.toml").read_text("utf-8")
    return dict(tomli.loads(text)["labels"])


def _label(name: str) -> str:
    return _clean(_labels().get(name, name.replace("_", " ")))


def _lines(value: Any) -> Iterator[str]:
    """A value as lines of text: each entry of a list on a line of its own, each field with its name."""
    if isinstance(value, dict):
        for name, one in value.items():
            if isinstance(one, list):
                yield f"{_label(name)}:"
                yield from _lines(one)
            elif one not in (None, "", {}):
                yield f"{_label(name)}: {_word(one)}"
    elif isinstance(value, list):
        yield from (_word(one) for one in value)
    else:
        yield _word(value)


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return " · ".join(_word(one) for one in value.values() if one not in (None, "", [], {}))
    return _clean(value)


def _clean(value: Any) -> str:
    text = "".join(one if unicodedata.category(one) not in {"Cc", "Cs"} else " " for one in str(value)[:MOST_CELL])
    return escape(text)
