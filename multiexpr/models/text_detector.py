"""Detector of lines of text: the DB network (Liao et al., 2020) of PaddleOCR, from the package rapidocr-onnxruntime."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from exprbench.core.errors import UserError

PACKAGE = "rapidocr_onnxruntime"
MULTIPLE = 32  # of which the network needs the sides of a picture


def require_text_model() -> Path:
    """Return the detector's file.

    Raises:
        UserError: the package is not installed.
    """
    path = find_text_model()
    if path is None:
        raise UserError(
            "burned-in text is found with rapidocr-onnxruntime, which is not installed; install it with "
            "pip install 'exprbench[text]', or set score.overlays.text=false"
        )
    return path


@cache
def find_text_model() -> Path | None:
    """Return the detector's file; None if the package is not installed. The package itself is not imported."""
    spec = find_spec(PACKAGE)
    folders = [Path(folder) for folder in spec.submodule_search_locations or []] if spec else []
    return next((path for folder in folders for path in sorted(folder.glob("models/*det*.onnx"))), None)


@cache
def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def text_probability(frame: np.ndarray) -> np.ndarray:
    """Return the probability of text, float32 (h, w) in [0, 1], of an (H, W, 3) uint8 RGB frame; sides are rounded."""
    session = _session(require_text_model())
    height, width = (max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in frame.shape[:2])
    picture = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)[..., ::-1]
    values = (picture.astype(np.float32) / 255 - 0.5) / 0.5
    name = session.get_inputs()[0].name
    return session.run(None, {name: np.ascontiguousarray(values.transpose(2, 0, 1))[None]})[0][0, 0]
