"""Report of a curation as one static HTML page, and the funnel as text."""

from multiexpr.reporting.page import report

__all__ = ["report"]
