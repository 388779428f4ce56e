"""HTML in small pieces; everything that comes from outside is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

CSS = Path(__file__).with_name("page.css")
NUMBER = ' class="n"'


class Html(str):
    """Markup that needs no escaping any more."""

    __slots__ = ()


def text(value: object) -> Html:
    """A value as it is shown: markup as it is, counts with commas, the rest escaped."""
    if isinstance(value, Html):
        return value
    return Html(f"{value:,}" if isinstance(value, int) else escape(str(value)))


def code(value: str) -> Html:
    """A piece of code."""
    return Html(f"<code>{escape(value)}</code>")


def note(*parts: object) -> Html:
    """A remark in a softer colour."""
    return Html(f'<p class="note">{"".join(map(text, parts))}</p>')


def section(title: str, *parts: object) -> Html:
    """A heading and what stands below it."""
    return Html(f"<h2>{escape(title)}</h2>{''.join(map(text, parts))}")


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> Html:
    """A table; numbers are set to the right."""
    lines = [f"<tr>{''.join(f'<th{_kind(name)}>{escape(name.lstrip())}</th>' for name in head)}</tr>"] if head else []
    lines += [f"<tr>{''.join(f'<td{_kind(cell)}>{text(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return Html(f"<table>{''.join(lines)}</table>")


def _kind(cell: object) -> str:
    """Numbers stand to the right; so do headings that begin with a space."""
    return NUMBER if isinstance(cell, (int, float)) or (isinstance(cell, str) and cell.startswith(" ")) else ""


def page(title: str, *parts: object) -> str:
    """A whole page, with its style in it."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    style = f"<style>{CSS.read_text()}</style>"
    body = "".join(map(text, parts))
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{escape(title)}</title>{style}</head>'
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )
