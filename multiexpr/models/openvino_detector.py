"""YOLO detectors that ultralytics exported to OpenVINO, without PyTorch, at the smallest shape that holds a frame.

A square input wastes time: a frame of 16:9 covers 640 x 360 pixels of a square of 640. An export with a fixed size
contains the position of every cell of its square, so it is changed to a smaller shape by keeping the cells inside.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from exprbench.faces.openvino_networks import CONFIG

STEP = 128  # sides of shapes are multiples of it, up to the long side: the network is compiled for each shape
STRIDES = (8, 16, 32)  # of the grids of cells
GREY = 114  # of the padding, as in training
MAX_OVERLAP = 0.7  # intersection over union above which two boxes show the same object


class OpenVinoDetector:
    """Detector of objects in frames.

    Args:
        folder: OpenVINO folder with the network (.xml, .bin) and `metadata.yaml`.
        image_size: long side in pixels to which frames are resized, if the export has no fixed size.
    """

    def __init__(self, folder: Path, image_size: int) -> None:
        import openvino
        import yaml

        self._path = next(folder.glob("*.xml"))
        self._core = openvino.Core()
        metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
        self.names: dict[int, str] = metadata["names"]
        shape = self._core.read_model(self._path).input().partial_shape
        side = _round_up(image_size, STRIDES[-1])
        self._size = (side, side) if shape.is_dynamic else (shape[2].get_length(), shape[3].get_length())
        self._is_fixed = not shape.is_dynamic and not self._can_shrink()
        self._network = cache(self._compile)

    def predict(
        self, frames: list[np.ndarray], *, confidence: float, classes: list[int], max_det: int
    ) -> list[np.ndarray]:
        """Return the objects of certain classes in each frame; see `multiexpr.models.detector.Detector`."""
        return [self._boxes(frame, confidence, classes)[:max_det] for frame in frames]

    def _boxes(self, frame: np.ndarray, confidence: float, classes: list[int]) -> np.ndarray:
        height, width = frame.shape[:2]
        scale = min(self._size[0] / height, self._size[1] / width)
        inner = max(1, round(height * scale)), max(1, round(width * scale))
        outer = self._size
        if not self._is_fixed:
            outer = tuple(min(_round_up(length, STEP), side) for length, side in zip(inner, outer, strict=True))
        top, left = (round((a - b) / 2 - 0.1) for a, b in zip(outer, inner, strict=True))
        picture = np.full((*outer, 3), GREY, np.uint8)
        picture[top : top + inner[0], left : left + inner[1]] = cv2.resize(frame, inner[::-1])
        found = decode(self._network(*outer)(picture), confidence, classes)
        found[:, :4] = (found[:, :4] - np.tile((left, top), 2)) / scale / np.tile((width, height), 2)
        found[:, :4] = found[:, :4].clip(0, 1)
        return found

    def _can_shrink(self) -> bool:
        """Return whether the network, of a fixed size, works at other shapes."""
        if self._size[0] != self._size[1]:
            return False
        try:
            set_shape(self._core.read_model(self._path), STEP, self._size[1])
        except RuntimeError:  # its graph contains other sizes
            return False
        return True

    def _compile(self, height: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return the network for (height, width, 3) uint8 pictures."""
        model = self._core.read_model(self._path)
        set_shape(model, height, width)
        _take_pictures(model)
        request = self._core.compile_model(model, "CPU", CONFIG).create_infer_request()

        def run(picture: np.ndarray) -> np.ndarray:
            request.get_input_tensor().data[0] = picture
            request.infer()
            return request.get_output_tensor(0).data[0]

        return run


def _round_up(length: int, step: int) -> int:
    return -(-length // step) * step


def set_shape(model: Any, height: int, width: int) -> None:
    """Set the height and width of a network's input.

    Raises:
        RuntimeError: the network does not work at this shape.
    """
    from openvino import PartialShape, opset13

    old = model.input().partial_shape
    model.get_parameters()[0].set_partial_shape(PartialShape([1, 3, height, width]))
    if old.is_static:
        kept = _cells_inside(old[2].get_length(), height, width)
        for node in model.get_ops():
            if node.get_type_name() == "Constant" and list(node.get_output_shape(0))[-1:] == [len(kept)]:
                new = opset13.constant(np.ascontiguousarray(node.data[..., kept]))
                for user in node.output(0).get_target_inputs():
                    user.replace_source_output(new.output(0))
    model.validate_nodes_and_infer_types()


def _cells_inside(side: int, height: int, width: int) -> np.ndarray:
    """Return which cells of a square are inside a shape, bool (N,): from the finest grid to the coarsest, by rows."""
    grids = []
    for stride in STRIDES:
        starts = np.arange(0, side, stride)
        grids.append(((starts < height)[:, None] & (starts < width)).ravel())
    return np.concatenate(grids)


def _take_pictures(model: Any) -> None:
    """Add the conversion of (1, H, W, 3) uint8 pictures to a network's input, (1, 3, H, W) in [0, 1]."""
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    steps.input().preprocess().convert_element_type(Type.f32).scale(255)
    steps.input().model().set_layout(Layout("NCHW"))
    steps.build()


def decode(output: np.ndarray, confidence: float, classes: list[int]) -> np.ndarray:
    """Return the boxes of certain classes and their confidences (n, 5) float64, x0, y0, x1, y1 in pixels, descending.

    Args:
        output: of the network: (4 + C, N) centres, sizes and confidences per class of N cells, or (N, 6) corners,
            confidences and classes of distinct objects.
        confidence: boxes with a lower one are left out.
        classes: numbers of the classes.
    """
    if output.shape[-1] == 6:
        found = output[(output[:, 4] > confidence) & np.isin(output[:, 5], classes), :5]
    else:
        cells = output[:, (output[4:][classes] > confidence).any(0)].T
        cells = cells[np.isin(cells[:, 4:].argmax(1), classes)]
        corners, scores, best = cells[:, :2] - cells[:, 2:4] / 2, cells[:, 4:].max(1), cells[:, 4:].argmax(1)
        boxes = np.hstack([corners, cells[:, 2:4]])
        kept = cv2.dnn.NMSBoxesBatched(boxes, scores, best, confidence, MAX_OVERLAP) if len(boxes) else []
        found = np.hstack([corners, corners + cells[:, 2:4], scores[:, None]])[np.array(kept, int)]
    return found[np.argsort(-found[:, 4], kind="stable")].astype(np.float64)
