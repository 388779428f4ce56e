"""The networks a scorer may ask, loaded when first used: in the worker, or by the process that holds a GPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from exprbench import weights
from exprbench.core.cache import cache_root
from exprbench.core.errors import UserError
from multiexpr.recipe import Recipe

PERSON = "person"
FORMS = ("{}.pt", "{}.engine", "{}.onnx", "{}_openvino_model", "{}_int8_openvino_model")
MAX_PEOPLE = 100


def find_people_model(name: str) -> Path:
    """A detector's file or folder: a path, or a name to be looked for in the folders of $EXPRBENCH_WEIGHTS.

    Raises:
        UserError: it is nowhere; the line says where to get it.
    """
    if Path(name).exists():
        return Path(name)
    found = (folder / form.format(name) for folder in weights.folders() for form in FORMS)
    path = next((path for path in found if path.exists()), None)
    if path is None:
        how = weights.how_to_get(weights.get(name)) if name in weights.ALL else "give its path with --people-model"
        raise UserError(f"there is no people model {name!r}; {how}")
    if name in weights.ALL and path.suffix == ".pt":
        return weights.require(name)
    return path


class Models:
    """Networks on one device (`cpu`, `cuda:0` ...)."""

    def __init__(self, recipe: Recipe, device: str = "cpu") -> None:
        self.recipe = recipe
        self.device = device

    @cached_property
    def _people(self) -> Any:
        params = self.recipe.score.people
        return load_people(find_people_model(params.model), image_size=params.image_size, device=self.device)

    def people(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        """(n, 5) x0 y0 x1 y1 in [0, 1] of the frame, confidence: the people in each frame, the surest first."""
        model, persons = self._people
        params = self.recipe.score.people
        pictures = [np.ascontiguousarray(frame[..., ::-1]) for frame in frames]
        batches = [pictures] if self.device != "cpu" else [[picture] for picture in pictures]
        options = {"imgsz": params.image_size, "conf": params.confidence, "classes": persons, "max_det": MAX_PEOPLE}
        results = [
            result
            for batch in batches
            for result in model.predict(batch, device=self.device, rect=False, verbose=False, **options)
        ]
        return [_boxes(result) for result in results]

    @cached_property
    def clip(self) -> Any:
        """CLIP ViT-L/14 with the LAION head; see `multiexpr.scorers.laion`."""
        from multiexpr.models.laion_network import load_clip

        return load_clip(self.recipe.score.aesthetics.clip, self.device)

    def aesthetics(self, crops: np.ndarray) -> np.ndarray:
        """LAION scores (n,) of (n, 224, 224, 3) uint8 RGB crops."""
        return self.clip(crops)


def restrict_ultralytics() -> None:
    """Tell ultralytics, before it is imported, to send nothing, fetch nothing, install nothing and unpickle nothing."""
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "true"
    os.environ.setdefault("YOLO_VERBOSE", "false")
    os.environ.setdefault("YOLO_CONFIG_DIR", str(cache_root() / "ultralytics"))
    Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)


def load_people(path: Path, *, image_size: int, device: str) -> tuple[Any, list[int]]:
    """A detector (.pt, .onnx, .engine or an OpenVINO folder) and which of its classes are people.

    Raises:
        UserError: ultralytics cannot read it, lacks a package for it, or it knows no people.
    """
    if path.suffix not in (".pt", ".onnx", ".engine") and not any(path.glob("*.xml")):
        raise UserError(f"{path} is no people model; expected a .pt, .onnx or .engine file, or an OpenVINO folder")
    restrict_ultralytics()
    from ultralytics import SETTINGS, YOLO
    from ultralytics.utils.events import events

    dict.update(SETTINGS, sync=False)  # in memory: the file is the user's
    events.enabled = False
    try:
        with _one_thread() if path.is_dir() else _one_core():
            model = YOLO(str(path), task="detect")
            names = model.names
            model.predict(np.zeros((64, 64, 3), np.uint8), imgsz=image_size, device=device, rect=False, verbose=False)
    except ImportError as error:
        raise UserError(f"the people model {path.name} needs the package {error.name or error}") from error
    except Exception as error:
        raise UserError(f"the people model {path} cannot be read: {str(error).splitlines()[0][:200]}") from error
    persons = [number for number, name in names.items() if name == PERSON]
    if not persons:
        raise UserError(
            f"the people model {path} knows no class {PERSON!r}, only {', '.join(list(names.values())[:5])}"
        )
    return model, persons


@contextmanager
def _one_core() -> Iterator[None]:
    """Within it this process sees one core: ONNX Runtime starts as many threads as it sees when a model is loaded."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within it OpenVINO compiles models for one thread that is free to run anywhere.

    Left alone it binds it to a core, that of every process to the same one, and workers wait for each other.
    ultralytics has no option for it.
    """
    import openvino

    make = openvino.Core

    def core_of_one_thread() -> Any:
        core = make()
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False})
        return core

    with mock.patch.object(openvino, "Core", core_of_one_thread):
        yield


def _boxes(result: Any) -> np.ndarray:
    boxes = result.boxes
    found = np.concatenate([boxes.xyxyn.cpu().numpy(), boxes.conf.cpu().numpy()[:, None]], axis=1)
    return found[np.lexsort((found[:, 0], -found[:, 4]))].astype(np.float64)
