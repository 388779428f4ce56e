"""Report of a curation as one static HTML page, and the funnel as text."""

from multiexpr.reporting.page import report
from multiexpr.reporting.stages import StageStatus, status

__all__ = ["StageStatus", "report", "status"]
