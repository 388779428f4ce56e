"""Write the report of score records: a static folder with the table, distributions, and every case's videos in step."""

from exprbench.core.lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "ReportSettings": "exprbench.report.report_folder",
        "build_report": "exprbench.report.report_folder",
        "write_figures": "exprbench.report.figures",
    },
)
