"""ExprBench: score portrait animation.

    import exprbench
    bench = exprbench.Benchmark.open("bench")
    record = exprbench.score(benchmark="bench", predictions="out/mymethod", method="mymethod")
    print(exprbench.table([record]))

Names are loaded when they are first used, so that importing this package (and `exprbench --help`) costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME_OF = {
    "Benchmark": "exprbench.benchmark",
    "FaceTrack": "exprbench.faces",
    "MediaError": "exprbench.media",
    "ScoreRecord": "exprbench.records",
    "UserError": "exprbench.errors",
    "build": "exprbench.building",
    "check": "exprbench.benchmark",
    "demo": "exprbench.demo.run",
    "load_record": "exprbench.records",
    "open_clip": "exprbench.media",
    "score": "exprbench.scoring",
    "table": "exprbench.leaderboard",
    "track_faces": "exprbench.faces.tracking",
    "write_video": "exprbench.media",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'exprbench' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return ["__version__", *sorted(_HOME_OF)]
