"""The library that runs MediaPipe's face networks: MediaPipe itself, OpenVINO, or PyTorch.

MediaPipe is the reference. The others give the same results within the tolerances in `docs/performance.md`: OpenVINO in
less time on a processor, PyTorch on a GPU. Results of two engines are not mixed in one table.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec

from exprbench.core.errors import UserError, unknown_name

ENGINES = ("mediapipe", "openvino", "torch")
AUTO = "auto"
VARIABLE = "EXPRBENCH_FACE_ENGINE"


def choose_engine(name: str = "") -> str:
    """Return `mediapipe`, `openvino` or `torch`.

    Args:
        name: the engine; `auto` is OpenVINO if it is installed, else MediaPipe; empty is `$EXPRBENCH_FACE_ENGINE`, by
            default MediaPipe.

    Raises:
        UserError: unknown name, or OpenVINO is not installed.
    """
    name = name or os.environ.get(VARIABLE) or "mediapipe"
    installed = find_spec("openvino") is not None
    if name == AUTO:
        return "openvino" if installed else "mediapipe"
    if name not in ENGINES:
        raise unknown_name("face engine", name, [*ENGINES, AUTO])
    if name == "openvino" and not installed:
        raise UserError("the face engine openvino needs OpenVINO; pip install 'exprbench[openvino]', or use mediapipe")
    return name


@contextmanager
def using_engine(name: str) -> Iterator[None]:
    """Use an engine within the block, in this process and in those that it starts; an empty name changes nothing.

    Raises:
        UserError: see `choose_engine`.
    """
    before = os.environ.get(VARIABLE)
    if name:
        os.environ[VARIABLE] = choose_engine(name)
    try:
        yield
    finally:
        if name:
            os.environ.pop(VARIABLE)
            os.environ.update({VARIABLE: before} if before is not None else {})


def engine_version(engine: str) -> str:
    """Return an engine and its version, such as `openvino 2026.4.1`."""
    return f"{engine} {version(engine)}"
