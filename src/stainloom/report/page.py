"""A report as one HTML page, its pictures inside it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html import escape

RESEARCH_ONLY = "For research use only. Not for diagnosis."
SIMULATED = "Simulated: these slides were made by the program. They prove nothing about patients."

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .3rem .8rem; text-align: left; }
th { border-bottom: 2px solid #999; } tr:nth-child(even) td { background: #f5f5f5; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; border: 1px solid #ddd; }
figcaption { color: #555; font-size: .9rem; } .banner { background: #fff3cd; padding: .6rem 1rem; border-left: 5px solid #E69F00; }
"""


@dataclass(frozen=True)
class Table:
    """Column titles, and rows of text or numbers (numbers stand at the right)."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A PNG and one sentence about what it shows."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class Section:
    """A titled part of a report: sentences first, then tables, then pictures."""

    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    sections: tuple[Section, ...]
    banners: tuple[str, ...] = field(default=(RESEARCH_ONLY,))


def render_page(page: Page) -> str:
    """A page as HTML. Every text is escaped: names in a study may come from strangers."""
    parts = [f"<h1>{escape(page.title)}</h1>"]
    parts += [f'<p class="banner">{escape(banner)}</p>' for banner in page.banners]
    for section in page.sections:
        parts.append(f"<h2>{escape(section.title)}</h2>")
        parts += [f"<p>{escape(sentence)}</p>" for sentence in section.sentences]
        parts += [_table(table) for table in section.tables]
        parts += [_picture(picture) for picture in section.pictures]
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(page.title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in table.titles)
    rows = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(cell: str | int | float) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    text = f"{cell:.3f}" if isinstance(cell, float) else f"{cell:,}"
    return f'<td class="number">{text}</td>'


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    caption = escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )
