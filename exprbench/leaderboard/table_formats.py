"""The output formats of a table."""

from collections.abc import Callable

from exprbench.leaderboard.latex import to_latex
from exprbench.leaderboard.rendering import to_csv, to_html, to_json, to_markdown
from exprbench.leaderboard.rows import Table

FORMATS: dict[str, Callable[[Table], str]] = {
    "md": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "json": to_json,
    "html": to_html,
}
