"""Networks of the scorers, loaded on first use, in a worker or in a GPU server; the people detector."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from exprbench import weights
from exprbench.core.cache import cache_root
from exprbench.core.errors import UserError
from exprbench.face_engine import choose_engine
from exprbench.faces.landmarker import Landmarker
from exprbench.faces.region_landmarker import RegionLandmarker
from exprbench.faces.video_tracks import landmarker
from multiexpr.models.openvino_detector import OpenVinoDetector
from multiexpr.recipe import Recipe

RESTRICTIONS = {"SAFE_LOAD": True, "AUTOINSTALL": False, "ONLINE": False}  # names of constants in its modules
PERSON = "person"
ANIMALS = {  # of the classes of COCO
    "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "teddy bear",
}  # fmt: skip
FILE_NAMES = ("{}.pt", "{}.engine", "{}.onnx", "{}_openvino_model", "{}_int8_openvino_model")
MAX_PEOPLE = 100


def find_people_model(name: str) -> Path:
    """Return a detector's file or folder, given as a path or as a name in the folders of $EXPRBENCH_WEIGHTS.

    Raises:
        UserError: there is no such file, and the message says how to get it; or a .pt file is neither published nor
            trusted.
    """
    path = _find(name)
    if path.suffix == ".pt":
        weights.check_trusted(path)
    return path


def _find(name: str) -> Path:
    if Path(name).exists():
        return Path(name)
    candidates = (folder / pattern.format(name) for folder in weights.folders() for pattern in FILE_NAMES)
    path = next((path for path in candidates if path.exists()), None)
    if path is None:
        how = weights.how_to_get(weights.get(name)) if name in weights.ALL else "give its path with --people-model"
        raise UserError(f"there is no people model {name!r}; {how}")
    return path


class Detector(Protocol):
    """Detector of objects in frames.

    Attributes:
        names: of the classes, by number.
    """

    names: dict[int, str]

    def predict(
        self, frames: list[np.ndarray], *, confidence: float, classes: list[int], max_det: int
    ) -> list[np.ndarray]:
        """Return the objects of certain classes in each (H, W, 3) uint8 RGB frame.

        Returns:
            A float64 array (n, 5) per frame, of at most `max_det` objects whose confidence exceeds `confidence`: x0,
            y0, x1, y1 in [0, 1] of the frame, and the confidence.
        """


class Models:
    """Networks on one device (`cpu`, `cuda:0` ...), loaded on first use."""

    def __init__(self, recipe: Recipe, device: str = "cpu") -> None:
        self.recipe = recipe
        self.device = device

    @cached_property
    def _people(self) -> tuple[Detector, list[int]]:
        params = self.recipe.score.people
        return load_people(find_people_model(params.model), image_size=params.image_size, device=self.device)

    def people(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        """Return the people in each (H, W, 3) uint8 RGB frame, in order of decreasing confidence.

        Returns:
            A float64 array (n, 5) per frame: x0, y0, x1, y1 in [0, 1] of the frame, and the confidence.
        """
        return self._detect(frames, self._people[1])

    def animals(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        """Return the animals in each frame, as `people` does; none if the model has no classes of animals."""
        classes = [number for number, name in self._people[0].names.items() if name in ANIMALS]
        return self._detect(frames, classes) if classes else [np.zeros((0, 5))] * len(frames)

    def _detect(self, frames: list[np.ndarray], classes: list[int]) -> list[np.ndarray]:
        confidence = self.recipe.score.people.confidence
        found = self._people[0].predict(frames, confidence=confidence, classes=classes, max_det=MAX_PEOPLE)
        return [boxes[np.lexsort((boxes[:, 0], -boxes[:, 4]))] for boxes in found]

    @cached_property
    def clip(self) -> Any:
        """Return the LAION predictor on CLIP ViT-L/14; see `load_clip`."""
        from multiexpr.models.laion_network import load_clip

        return load_clip(self.recipe.score.aesthetics.clip, self.device)

    def aesthetics(self, crops: np.ndarray) -> np.ndarray:
        """Return LAION scores (n,) of (n, 224, 224, 3) uint8 RGB crops."""
        return self.clip(crops)

    @cached_property
    def _embedder(self) -> Any:
        from multiexpr.models.laion_network import load_embedder

        return load_embedder(self.recipe.score.signature.clip, self.device)

    def embeddings(self, crops: np.ndarray) -> np.ndarray:
        """Return CLIP embeddings (n, 768) of length 1 of (n, 224, 224, 3) uint8 RGB crops."""
        return self._embedder(crops)

    @cached_property
    def _musiq(self) -> Any:
        from multiexpr.models.musiq_network import load_musiq

        return load_musiq(self.device)

    def musiq(self, frames: list[np.ndarray]) -> np.ndarray:
        """Return MUSIQ scores (n,) of (H, W, 3) uint8 RGB frames."""
        return self._musiq(frames)

    @cached_property
    def _nsfw(self) -> Any:
        from multiexpr.models.nsfw_network import load_nsfw

        return load_nsfw(self.recipe.score.nsfw.model, self.device)

    def unsafe(self, frames: list[np.ndarray]) -> np.ndarray:
        """Return the probabilities (n,) that (H, W, 3) uint8 RGB frames are unsafe."""
        return self._nsfw(frames)

    def landmarker(self, engine: str) -> Landmarker:
        """Return the face landmarker of an engine; the networks of the engine `torch` run on this device."""
        return self._torch_landmarker if choose_engine(engine) == "torch" else landmarker(engine)

    @cached_property
    def _torch_landmarker(self) -> Landmarker:
        return RegionLandmarker(weights.require("face_landmarker"), self.face_network)

    @cached_property
    def _face_networks(self) -> Any:
        from exprbench.faces.torch_networks import TorchNetworks

        return TorchNetworks(weights.require("face_landmarker"), self.device)

    def face_network(self, name: str, batch: np.ndarray) -> list[np.ndarray]:
        """Return the outputs of one of MediaPipe's face networks; see `exprbench.faces.face_networks.Run`."""
        return self._face_networks(name, batch)


def restrict_ultralytics() -> None:
    """Configure ultralytics, before its import, not to use the network, install packages or unpickle objects."""
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "true"
    os.environ.setdefault("YOLO_VERBOSE", "false")
    os.environ.setdefault("YOLO_CONFIG_DIR", str(cache_root() / "ultralytics"))
    Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)


def _force_restrictions() -> None:
    """Apply the settings of `restrict_ultralytics` to an ultralytics that was imported before it."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "ultralytics":
            for setting in RESTRICTIONS.keys() & vars(module).keys():
                setattr(module, setting, RESTRICTIONS[setting])


class _Canary:
    """Object whose loading shows that pickled code runs."""

    has_run = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _sing, ()


def _sing() -> None:
    _Canary.has_run = True


def check_safe_loading() -> None:
    """Check that ultralytics loads no pickled code, by a file that holds some.

    Raises:
        UserError: the code was run.
    """
    import torch
    import ultralytics
    from ultralytics.nn.tasks import torch_safe_load

    _force_restrictions()
    _Canary.has_run = False
    with tempfile.TemporaryDirectory() as folder, suppress(Exception):  # each version refuses in its own way
        torch.save({"model": _Canary()}, f"{folder}/canary.pt")
        torch_safe_load(f"{folder}/canary.pt")
    if _Canary.has_run:
        raise UserError(
            f"ultralytics {ultralytics.__version__} runs the code in a .pt file; install one with safe loading: "
            "pip install 'ultralytics>=8.4.190' 'torch>=2.6'"
        )


def load_people(path: Path, *, image_size: int, device: str) -> tuple[Detector, list[int]]:
    """Load a detector (.pt, .onnx, .engine or OpenVINO folder); return it and the numbers of its person classes.

    Raises:
        UserError: the file cannot be read, needs a package that is missing, or would run code; it is not trusted; or
            the model has no person class.
    """
    if path.suffix not in (".pt", ".onnx", ".engine") and not any(path.glob("*.xml")):
        raise UserError(f"{path} is not a people model; expected a .pt, .onnx or .engine file, or an OpenVINO folder")
    if path.suffix == ".pt":
        weights.check_trusted(path)
        restrict_ultralytics()
        check_safe_loading()
    try:
        model: Detector = OpenVinoDetector(path, image_size) if path.is_dir() else _load(path, image_size, device)
    except ImportError as error:
        package = error.name or error
        raise UserError(f"the people model {path.name} needs the package {package}; install it with pip") from error
    except Exception as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(
            f"the people model {path} cannot be read ({reason}); expected a YOLO detector that ultralytics loads"
        ) from error
    person_classes = [number for number, name in model.names.items() if name == PERSON]
    if not person_classes:
        raise UserError(
            f"the people model {path} has no class {PERSON!r}, only {', '.join(list(model.names.values())[:5])}; "
            "give one trained on people, such as yolov8n"
        )
    return model, person_classes


def _load(path: Path, image_size: int, device: str) -> "UltralyticsDetector":
    """Return a detector that ultralytics loads, after it has processed a picture: some files fail only then."""
    restrict_ultralytics()
    from ultralytics import SETTINGS, YOLO
    from ultralytics.utils.events import events

    dict.update(SETTINGS, sync=False)  # in memory only: the settings file belongs to the user
    events.enabled = False
    with _one_core():
        detector = UltralyticsDetector(YOLO(str(path), task="detect"), image_size, device)
        detector.predict([np.zeros((64, 64, 3), np.uint8)], confidence=0.5, classes=[0], max_det=1)
    return detector


class UltralyticsDetector:
    """Detector of ultralytics. Frames are padded to the smallest shape that holds them, if the model takes any shape.

    Batches, on a GPU, have frames of one shape: ultralytics pads all frames of other batches to squares.
    """

    def __init__(self, model: Any, image_size: int, device: str) -> None:
        self.model = model
        self.image_size = image_size
        self.device = device

    @property
    def names(self) -> dict[int, str]:
        """Return the names of the classes by number."""
        return self.model.names

    def predict(
        self, frames: list[np.ndarray], *, confidence: float, classes: list[int], max_det: int
    ) -> list[np.ndarray]:
        """Return the objects of certain classes in each frame; see `Detector`."""
        images = [cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in frames]
        batches: dict[Any, list[int]] = {}
        for i, image in enumerate(images):
            batches.setdefault(i if self.device == "cpu" else image.shape, []).append(i)
        options = {"imgsz": self.image_size, "conf": confidence, "classes": classes, "max_det": max_det}
        found: dict[int, np.ndarray] = {}
        for numbers in batches.values():
            batch = [images[i] for i in numbers]
            results = self.model.predict(batch, device=self.device, rect=True, verbose=False, **options)
            found.update(zip(numbers, map(_boxes, results), strict=True))
        return [found[i] for i in range(len(images))]


@contextmanager
def _one_core() -> Iterator[None]:
    """Restrict this process to one core while ONNX Runtime loads a model: it starts one thread per available core."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


def _boxes(result: Any) -> np.ndarray:
    boxes = [result.boxes.xyxyn.cpu().numpy(), result.boxes.conf.cpu().numpy()[:, None]]
    return np.concatenate(boxes, axis=1).astype(np.float64)
