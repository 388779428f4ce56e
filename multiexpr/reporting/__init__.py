"""One static page about a curation."""

from multiexpr.reporting.page import report

__all__ = ["report"]
