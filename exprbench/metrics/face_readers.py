"""Networks that read a cropped face: one entry per network, used by the face metrics that name its weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

Network = Callable[[Sequence[np.ndarray]], Mapping[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class FaceReader:
    """A network that reads faces; `exprbench.metrics.{module}` has `crop(frame, points_px)` and `load(device)`.

    Attributes:
        module: name of the module, which is also that of the model file.
        outputs: name of each output -> numbers per face.
        of_source: whether the prediction is compared with the source image instead of the driver.
    """

    module: str
    outputs: Mapping[str, int]
    of_source: bool = False

    def crop(self, frame: np.ndarray, points_px: np.ndarray) -> np.ndarray:
        """Return the network's view of a face, from its landmarks (478, 2) in pixels from the upper left corner."""
        return _module(self.module).crop(frame, points_px)

    def network(self, device: str) -> Network:
        """Return the network, loaded once per process: n crops to name -> (n, outputs) float64."""
        return loaded(self.module, device)


def _module(name: str) -> Any:
    return import_module(f"exprbench.metrics.{name}")


@lru_cache(maxsize=4)
def loaded(module: str, device: str) -> Network:
    """Return a reader's network."""
    return _module(module).load(device)


READERS: dict[str, FaceReader] = {
    reader.module: reader
    for reader in (
        FaceReader(module="l2cs", outputs={"gaze": 3}),
        FaceReader(module="smirk", outputs={"expression": 55, "pose": 3}),
        FaceReader(module="dlib_identity", outputs={"dlib_identity": 128}, of_source=True),
        FaceReader(module="arcface", outputs={"arcface": 512}, of_source=True),
    )
}
