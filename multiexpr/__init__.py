"""Multi-Expr: from raw collections of human videos to a curated, captioned dataset (paper, section 4.1).

    import multiexpr
    multiexpr.curate("videos/", "out/")

Names are loaded when they are first used.
"""

from importlib import import_module
from typing import Any

_HOME_OF = {
    "Machines": "multiexpr.executors",
    "Recipe": "multiexpr.recipe",
    "caption": "multiexpr.captions",
    "curate": "multiexpr.curation",
    "export": "multiexpr.exporting",
    "index": "multiexpr.curation",
    "load_recipe": "multiexpr.recipe",
    "report": "multiexpr.reporting",
    "score": "multiexpr.curation",
    "select": "multiexpr.curation",
    "why": "multiexpr.explain",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'multiexpr' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOME_OF)
