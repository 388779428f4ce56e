"""One static page about a curation."""

from multiexpr.report.page import report

__all__ = ["report"]
