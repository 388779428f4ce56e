"""MediaPipe's three face networks in OpenVINO, in batches: detector, landmarks and blendshapes.

The networks are those in `face_landmarker.task`, a zip of .tflite files, which OpenVINO reads directly.
"""

import re
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DETECTOR_SIDE, LANDMARK_SIDE = 128, 256  # of the inputs in pixels
# Numbers of the landmarks that the blendshape network takes; MediaPipe has them in its code, not in the file.
BLENDSHAPE_POINTS = (
    *(0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80),
    *(81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153),
    *(154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249),
    *(251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314),
    *(317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382),
    *(384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466),
    *range(468, 478),
)
# By default OpenVINO pins the threads of all processes to the same cores, and rounds to bfloat16 on processors with it.
CONFIG = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False, "INFERENCE_PRECISION_HINT": "f32"}
# oneDNN's kernels for blocked channels are 1.4 times as fast for the landmark network, whose layers have 8 to 128
# channels, as the kernels that OpenVINO prefers on processors with AVX-512. On others it ignores this.
BLOCKED = "cpu:jit_avx512_1x1,cpu:jit_avx512,cpu:jit_avx512_dw"
_CONVOLUTION = re.compile(r'<layer [^>]*type="(?:Group)?Convolution"[^>]*>\s*<data [^>]*/>')
_PRIORITY = '<rt_info><attribute name="primitives_priority" version="0" value="{}"/></rt_info>'

INPUTS = {
    "face_detector": (DETECTOR_SIDE, DETECTOR_SIDE, 3),
    "face_landmarks_detector": (LANDMARK_SIDE, LANDMARK_SIDE, 3),
    "face_blendshapes": (len(BLENDSHAPE_POINTS), 2),
}
RANGES = {"face_detector": (-1.0, 1.0), "face_landmarks_detector": (0.0, 1.0)}  # of the pixels' values

Network = Callable[[np.ndarray], list[np.ndarray]]


class FaceNetworks:
    """The three networks; every batch size is compiled when it is first used.

    Args:
        model: path of `face_landmarker.task`.
        device: OpenVINO's device.
    """

    def __init__(self, model: Path, device: str = "CPU") -> None:
        import openvino

        self._path = model
        self._core = openvino.Core()
        self._device = device
        self._compiled: dict[tuple[str, int], Network] = {}

    def detect(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return regressors (N, 896, 16) and logits (N, 896) of pictures (N, 128, 128, 3) uint8 RGB."""
        regressors, logits = self._run("face_detector", pictures)
        return regressors, logits[..., 0]

    def landmarks(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return landmarks (N, 478, 3) in [0, 1] of pictures (N, 256, 256, 3) uint8 RGB, and presences (N,)."""
        points, logits, _ = self._run("face_landmarks_detector", pictures)
        return points.reshape(-1, 478, 3) / LANDMARK_SIDE, 1 / (1 + np.exp(-logits.reshape(-1)))

    def blendshapes(self, points: np.ndarray) -> np.ndarray:
        """Return blendshapes (N, 52) of points (N, 146, 2) in pixels; the network's file takes one face at a time."""
        return np.stack([self._run_batch("face_blendshapes", face[None])[0] for face in points.astype(np.float32)])

    def _run(self, name: str, pictures: np.ndarray) -> list[np.ndarray]:
        """Return the outputs of a network for any number of pictures."""
        parts = [self._run_batch(name, pictures[i : i + n]) for i, n in batches(len(pictures))]
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def _run_batch(self, name: str, batch: np.ndarray) -> list[np.ndarray]:
        key = name, len(batch)
        if key not in self._compiled:
            self._compiled[key] = self._compile(*key)
        return self._compiled[key](batch)

    def _compile(self, name: str, batch_size: int) -> Network:
        config = CONFIG if self._device == "CPU" else {}
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(self._path) as task:
            model = self._core.read_model(task.extract(f"{name}.tflite", folder))
            model.reshape([batch_size, *INPUTS[name]])
            if name in RANGES:
                _take_uint8(model, *RANGES[name])
            if name == "face_landmarks_detector":
                model = _prefer(self._core, model, BLOCKED, Path(folder))
            request = self._core.compile_model(model, self._device, config).create_infer_request()
        tensor = request.get_input_tensor()
        outputs = [request.get_output_tensor(i) for i in range(len(model.outputs))]

        def run(batch: np.ndarray) -> list[np.ndarray]:
            tensor.data[:] = batch
            request.infer()
            return [output.data.copy() for output in outputs]

        return run


def batches(count: int) -> list[tuple[int, int]]:
    """Return (first, size) of the batches for a number of pictures; few sizes, because each is compiled."""
    sizes = [4] * (count // 4) + [size for size in (2, 1) if count % 4 & size]
    return list(zip(np.cumsum([0, *sizes])[:-1].tolist(), sizes, strict=True))


def _take_uint8(model: Any, low: float, high: float) -> None:
    """Add the conversion of uint8 pixels to a range of float values to a network."""
    from openvino import Type
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(Type.u8)
    steps.input().preprocess().convert_element_type(Type.f32).scale(255 / (high - low)).mean(-low)
    steps.build()


def _prefer(core: Any, model: Any, kernels: str, folder: Path) -> Any:
    """Return a network whose convolutions use certain kernels if the processor has them.

    OpenVINO reads this preference from its own file format only, so the network is written to a folder.
    """
    import openvino

    xml = folder / "model.xml"
    openvino.serialize(model, xml)
    xml.write_text(_CONVOLUTION.sub(lambda layer: layer[0] + _PRIORITY.format(kernels), xml.read_text()))
    return core.read_model(xml)
