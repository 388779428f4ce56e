"""`doctor`: check libraries, model files, GPU, decoders, cache and disk of this machine."""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from exprbench import weights
from exprbench.core.cache import cache_root
from exprbench.core.processes import num_cores

REQUIRED = ("numpy", "scipy", "pillow", "opencv-python", "av", "mediapipe", "torch", "torchvision", "pandas")
OPTIONAL = {
    "timm": "profile paper",
    "onnxruntime": "csim_arcface",
    "dlib-bin": "csim",
    "statsmodels": "study aggregate",
    "choix": "study aggregate",
    "pillow-heif": "HEIC portraits",
}
LOW_DISK_BYTES = 5_000_000_000
NUM_FRAMES = 3


@dataclass(frozen=True, kw_only=True)
class Check:
    """A checked part of the installation; `state` is `ok`, `missing` (something optional) or `error`."""

    name: str
    state: str
    detail: str


def doctor() -> list[Check]:
    """Return the checks of this machine, in the order in which they are printed."""
    parts = (_libraries, _model_files, _devices, _decoders, _storage)
    return [check for part in parts for check in part()]


def _libraries() -> Iterator[Check]:
    yield Check(name="python", state="ok", detail=f"{platform.python_version()} on {platform.platform()}")
    for name in (*REQUIRED, *OPTIONAL):
        use = f"; for {OPTIONAL[name]}" if name in OPTIONAL else ""
        try:
            yield Check(name=name, state="ok", detail=version(name) + use)
        except PackageNotFoundError:
            state = "missing" if name in OPTIONAL else "error"
            yield Check(name=name, state=state, detail=f"not installed: pip install {name}{use}")


def _model_files() -> Iterator[Check]:
    for entry in weights.ALL.values():
        found = weights.state(entry)
        name, use = f"weights {entry.name}", f"for {entry.used_by}"
        if found == "missing" and weights.locate_export(entry.name):
            yield Check(name=name, state="ok", detail=f"exported; {use}")
        elif found == "missing":
            yield Check(name=name, state="missing", detail=f"{use}; {weights.how_to_get(entry)}")
        elif found == "differs":
            path = weights.locate(entry.name)
            yield Check(name=name, state="error", detail=f"{path} is not the published file; remove it ({use})")
        else:
            yield Check(name=name, state="ok", detail=f"{found}; {use}")


def _devices() -> Iterator[Check]:
    yield Check(name="cores", state="ok", detail=f"{num_cores()} of {os.cpu_count()}")
    try:
        import torch

        found = torch.cuda.is_available()
        detail = torch.cuda.get_device_name() if found else "torch finds none; networks run on the CPU"
        yield Check(name="gpu", state="ok" if found else "missing", detail=detail)
    except ImportError as error:
        yield Check(name="gpu", state="error", detail=f"torch cannot be imported: {error}")


def _decoders() -> Iterator[Check]:
    yield _try("H.264 video", _write_and_read)
    yield _try("decoders", _known_decoders)


def _try(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name=name, state="ok", detail=check())
    except Exception as error:  # whatever a library raises is what is reported
        return Check(name=name, state="error", detail=f"{type(error).__name__}: {error}")


def _write_and_read() -> str:
    import numpy as np

    from exprbench.media import read_clip, write_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mp4"
        write_video(path, [np.full((64, 64, 3), 40 * i, np.uint8) for i in range(NUM_FRAMES)])
        frames, _ = read_clip(path)
    if len(frames) != NUM_FRAMES:
        raise ValueError(f"{len(frames)} of {NUM_FRAMES} frames were read back")
    return "written and read back"


def _known_decoders() -> str:
    import av

    wanted = ("h264", "hevc", "vp9", "av1", "mpeg4", "prores")
    return " ".join(name for name in wanted if name in av.codecs_available)


def _storage() -> Iterator[Check]:
    root = cache_root()
    existing = next(path for path in (root, *root.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    is_low = free < LOW_DISK_BYTES
    state = "error" if not os.access(existing, os.W_OK) else "missing" if is_low else "ok"
    advice = "; set EXPRBENCH_CACHE to a folder on a larger disk" if is_low else ""
    yield Check(name="cache", state=state, detail=f"{root}, {free / 1e9:.0f} GB free{advice}")
