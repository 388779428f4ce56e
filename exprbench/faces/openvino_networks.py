"""MediaPipe's face networks in OpenVINO, which reads .tflite files directly."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.faces.face_networks import (
    BLENDSHAPE_POINTS,
    BLENDSHAPES,
    DETECTOR,
    DETECTOR_SIDE,
    LANDMARK_SIDE,
    LANDMARKS,
    RANGES,
    read_network,
)

# By default OpenVINO pins the threads of all processes to the same cores, and rounds to bfloat16 on processors with it.
CONFIG = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False, "INFERENCE_PRECISION_HINT": "f32"}
# oneDNN's kernels for blocked channels are 1.4 times as fast for the landmark network, whose layers have 8 to 128
# channels, as the kernels that OpenVINO prefers on processors with AVX-512. On others it ignores this.
BLOCKED = "cpu:jit_avx512_1x1,cpu:jit_avx512,cpu:jit_avx512_dw"
_CONVOLUTION = re.compile(r'<layer [^>]*type="(?:Group)?Convolution"[^>]*>\s*<data [^>]*/>')
_PRIORITY = '<rt_info><attribute name="primitives_priority" version="0" value="{}"/></rt_info>'

INPUTS = {
    DETECTOR: (DETECTOR_SIDE, DETECTOR_SIDE, 3),
    LANDMARKS: (LANDMARK_SIDE, LANDMARK_SIDE, 3),
    BLENDSHAPES: (len(BLENDSHAPE_POINTS), 2),
}


class OpenVinoNetworks:
    """Function that runs the networks (`Run`); every batch size is compiled when it is first used.

    Args:
        model: path of `face_landmarker.task`.
    """

    def __init__(self, model: Path) -> None:
        import openvino

        self._path = model
        self._core = openvino.Core()
        self._compiled: dict[tuple[str, int], Callable[[np.ndarray], list[np.ndarray]]] = {}

    def __call__(self, name: str, batch: np.ndarray) -> list[np.ndarray]:
        """Return the outputs of a network for a batch of any size."""
        # The files of the other two fix the shapes of inner results for one face.
        sizes = batches(len(batch)) if name == LANDMARKS else [(i, 1) for i in range(len(batch))]
        parts = [self._run(name, batch[i : i + n]) for i, n in sizes]
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def _run(self, name: str, batch: np.ndarray) -> list[np.ndarray]:
        key = name, len(batch)
        if key not in self._compiled:
            self._compiled[key] = self._compile(*key)
        return self._compiled[key](batch)

    def _compile(self, name: str, batch_size: int) -> Callable[[np.ndarray], list[np.ndarray]]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.tflite"
            path.write_bytes(read_network(self._path, name))
            model = self._core.read_model(path)
            model.reshape([batch_size, *INPUTS[name]])
            if name in RANGES:
                _take_uint8(model, *RANGES[name])
            if name == LANDMARKS:
                model = _prefer(self._core, model, BLOCKED, Path(folder))
            request = self._core.compile_model(model, "CPU", CONFIG).create_infer_request()
        tensor = request.get_input_tensor()
        outputs = [request.get_output_tensor(i) for i in range(len(model.outputs))]

        def run(batch: np.ndarray) -> list[np.ndarray]:
            tensor.data[:] = batch
            request.infer()
            return [output.data.copy() for output in outputs]

        return run


def batches(count: int) -> list[tuple[int, int]]:
    """Return (first, size) of the batches for a number of pictures; two sizes, because each is compiled."""
    sizes = [4] * (count // 4) + [1] * (count % 4)
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
