"""Worker process of a stage: keeps networks loaded and checks that a clip's file does not change during a task."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from exprbench.core.errors import UserError
from exprbench.core.processes import Limits, Pool
from exprbench.weights import WeightsError
from multiexpr.execution.gpu_server import RemoteModels
from multiexpr.models.detector import Models, restrict_ultralytics
from multiexpr.recipe import Recipe
from multiexpr.sources.locate import check_unchanged
from multiexpr.sources.remote import local_files

Request = dict[str, Any]
Answer = dict[str, Any]
T = TypeVar("T")


class ClipWorker:
    """Handler of requests `{"task": function, "clip": row of the index, ...}` about the clips of a collection.

    A task is a function of the worker and the request. The worker gives it the folder of the collection (`root`), the
    recipe and objects that are shared between requests.
    """

    def __init__(self, root: Path, recipe: Recipe, models: Models) -> None:
        self.collection = root
        self.root = root  # of the files of the clip in work: a download, if the collection is on object storage
        self.recipe = recipe
        self.models = models
        self._shared: dict[Any, Any] = {}

    def shared(self, create: Callable[[Recipe, Models], T]) -> T:
        """Return `create(recipe, models)`, called once per process."""
        if create not in self._shared:
            self._shared[create] = create(self.recipe, self.models)
        return self._shared[create]

    def __call__(self, request: Request) -> Answer:
        """Return the answer to a request.

        Raises:
            ItemError: the clip cannot be used, or changed while it was being read.
            UserError: the run cannot go on, for example because a model file is missing.
        """
        try:
            check_unchanged(request["clip"], self.collection)
            with local_files(request["clip"], self.collection) as self.root:
                answer = request["task"](self, request)
            check_unchanged(request["clip"], self.collection)
        except WeightsError as error:
            raise UserError(error.detail) from error
        return answer


def create_worker(root: str, recipe: Recipe, server: str | None) -> ClipWorker:
    """Create the handler of a worker process.

    Args:
        root: folder of the collection.
        recipe: settings of the run.
        server: address of a GPU server; None loads the networks in this process.
    """
    import cv2

    cv2.setNumThreads(1)
    restrict_ultralytics()
    models = Models(recipe) if server is None else RemoteModels(recipe, server)
    return ClipWorker(Path(root), recipe, models)


def clip_pool(
    root: str, recipe: Recipe, *, num_workers: int, servers: list[str] | None = None, whole_videos: bool = False
) -> Pool:
    """Create a pool of clip workers, spread evenly over the GPU servers if there are any.

    The time limit of an item is the recipe's for clips; `whole_videos`, which can last hours, have the default one.
    """
    setups = [partial(create_worker, root, recipe, server) for server in servers or [None]]
    limits = Limits() if whole_videos else Limits(timeout_s=recipe.score.clip_timeout_s)
    return Pool(setups, num_workers=num_workers, limits=limits)
