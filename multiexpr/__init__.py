"""Multi-Expr: curate collections of human videos into a captioned dataset (paper, section 4.1).

    import multiexpr
    multiexpr.curate("videos/", "out/")

Names are imported on first use.
"""

from exprbench.core.lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "ExecutionConfig": "multiexpr.execution.executors",
        "Recipe": "multiexpr.recipe",
        "caption": "multiexpr.captions",
        "curate": "multiexpr.curation",
        "export": "multiexpr.exporting",
        "index": "multiexpr.curation",
        "load_recipe": "multiexpr.recipe",
        "report": "multiexpr.reporting",
        "score": "multiexpr.curation",
        "select": "multiexpr.curation",
        "status": "multiexpr.reporting",
        "unfinished": "multiexpr.curation",
        "why": "multiexpr.selection.explain",
    },
)
