"""The process that works on clips: `python -m multiexpr.execution.worker`.

It takes one JSON request a line on standard input and answers each with one line on standard output; the first line
tells the recipe. A process of its own, so that a library that crashes or hangs takes one clip with it, and it ends when
its parent does.
"""

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exprbench.core.cli_base import NOT_OURS
from exprbench.core.errors import ItemError, UserError
from exprbench.weights import WeightsError
from multiexpr.models.detector import Models, keep_to_ourselves
from multiexpr.recipe import Recipe, from_dict
from multiexpr.scorers.stage import ClipScorer
from multiexpr.sources.locate import check_unchanged, video_of

Request = dict[str, Any]
Answer = dict[str, Any]


def main() -> None:
    """Serve requests until standard input closes."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    hello = json.loads(sys.stdin.readline() or "null")
    worker = _Worker(hello) if hello else None
    for line in sys.stdin:
        out.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        out.flush()


def _end_with_parent() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class _Worker:
    """What a worker keeps between clips: networks, once they are loaded."""

    def __init__(self, hello: Request) -> None:
        import cv2

        cv2.setNumThreads(1)
        keep_to_ourselves()
        self.root = Path(hello["root"])
        self.recipe: Recipe = from_dict(hello["recipe"])
        self.models = _models(self.recipe, hello.get("server"))
        self.scorer = ClipScorer(self.recipe, self.models)
        self.tasks: dict[str, Callable[[Request], Answer]] = {
            "score": self.score,
            "shots": self.shots,
            "export": self.export,
            "thumbnail": self.thumbnail,
        }

    def answer(self, request: Request) -> Answer:
        """What became of a request; an error of the clip is an answer, one of the user's ends the run."""
        try:
            check_unchanged(request["clip"], self.root)
            answer = self.tasks[request["task"]](request)
            check_unchanged(request["clip"], self.root)
        except WeightsError as error:
            return {"fatal": error.detail}
        except UserError as error:
            return {"fatal": str(error)}
        except ItemError as error:
            return {"error": [error.code, error.detail]}
        except Exception as error:
            return _disk_trouble(error) or {"bug": traceback.format_exc()}
        return answer

    def score(self, request: Request) -> Answer:
        video = video_of(request["clip"], self.root)
        return self.scorer.score(video, request["known"], request["needed"], score_all=request["score_all"])

    def shots(self, request: Request) -> Answer:
        from multiexpr.indexing.shots import spans_of

        return {"spans": spans_of(video_of(request["clip"], self.root), self.recipe.shots)}

    def export(self, request: Request) -> Answer:
        from multiexpr.exporting.clips import export_clip

        return export_clip(request["clip"], video_of(request["clip"], self.root), Path(request["into"]), self.recipe)

    def thumbnail(self, request: Request) -> Answer:
        from multiexpr.reporting.pictures import thumbnail

        return {"jpeg": thumbnail(video_of(request["clip"], self.root))}


def _disk_trouble(error: Exception) -> Answer | None:
    """A full or read-only disk is for the user to mend, whichever clip met it."""
    if not isinstance(error, OSError) or error.errno not in NOT_OURS:
        return None
    return {"fatal": f"{os.strerror(error.errno)}: {error.filename}"}


def _models(recipe: Recipe, server: list[str] | None) -> Models:
    if server is None:
        return Models(recipe)
    from multiexpr.execution.gpu_server import RemoteModels

    return RemoteModels(recipe, *server)


if __name__ == "__main__":
    main()
