"""Build HTML; all text is escaped unless it is `Html`."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

CSS, SCRIPT = (Path(__file__).with_name(name) for name in ("page.css", "page.js"))
NUMBER = ' class="n"'


class Html(str):
    """Markup that is already escaped."""

    __slots__ = ()


def text(value: object) -> Html:
    """Return a value as markup: `Html` unchanged, integers with thousands separators, the rest escaped."""
    if isinstance(value, Html):
        return value
    return Html(f"{value:,}" if isinstance(value, int) else escape(str(value)))


def code(value: str) -> Html:
    """Return a code element."""
    return Html(f"<code>{escape(value)}</code>")


def note(*parts: object) -> Html:
    """Return a paragraph in a softer colour."""
    return Html(f'<p class="note">{"".join(map(text, parts))}</p>')


def section(title: str, *parts: object) -> Html:
    """Return a heading followed by its content."""
    return Html(f"<h2>{escape(title)}</h2>{''.join(map(text, parts))}")


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> Html:
    """Return a table; numbers, and text that begins with a space, are aligned right."""
    lines = [f"<tr>{''.join(f'<th{_align(name)}>{escape(name.lstrip())}</th>' for name in head)}</tr>"] if head else []
    lines += [f"<tr>{''.join(f'<td{_align(cell)}>{text(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return Html(f"<table>{''.join(lines)}</table>")


def _align(cell: object) -> str:
    return NUMBER if isinstance(cell, (int, float)) or (isinstance(cell, str) and cell.startswith(" ")) else ""


def page(title: str, *parts: object) -> str:
    """Return a complete page with its stylesheet and its script."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    style = f"<style>{CSS.read_text(encoding='utf-8')}</style>"
    body = "".join(map(text, parts))
    script = f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>"
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{escape(title)}</title>{style}</head>'
        f"<body><h1>{escape(title)}</h1>{body}{script}</body></html>\n"
    )
