"""Identity by ArcFace (Deng et al. 2019): 512 numbers of an aligned face crop of 112 x 112 pixels.

The network is InsightFace's ResNet-50 trained on WebFace600K, published as ONNX. The crop is aligned by five points, as
in InsightFace, taken from MediaPipe's landmarks.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from exprbench import weights
from exprbench.metrics.alignment import aligned, arcface_points
from exprbench.weights import WeightsError

SIDE, NUM_FEATURES = 112, 512
BATCH = 32
# Eyes, nose and corners of the mouth in the crops the network was trained on, in pixels.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def crop(frame: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Return the (112, 112, 3) uint8 crop of a face, aligned to the template."""
    return aligned(frame, arcface_points(points_px[:, :2]), TEMPLATE, SIDE)


class IdentityNetwork:
    """ArcFace embeddings of face crops.

    Args:
        path: the ONNX file.
        device: `cpu`, or a GPU if the installed onnxruntime supports it.

    Raises:
        WeightsError: `weights_differ`, if the file has other inputs or outputs.
    """

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        import onnxruntime

        gpu = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
        available = onnxruntime.get_available_providers()
        providers = [name for name in [*gpu, "CPUExecutionProvider"] if name in available]
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=providers)
        except Exception as error:  # onnxruntime raises classes of its C++ code
            raise WeightsError("weights_differ", f"{path} is no ONNX network: {str(error).splitlines()[0]}") from error
        shapes = [list(values[0].shape[1:]) for values in (self.session.get_inputs(), self.session.get_outputs())]
        if shapes != [[3, SIDE, SIDE], [NUM_FEATURES]]:
            raise WeightsError("weights_differ", f"{path} maps {shapes[0]} to {shapes[1]}, not 3 x 112 x 112 to 512")
        self.input = self.session.get_inputs()[0].name

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return the embeddings (n, 512) float64 of n crops."""
        parts = [self._read(crops[i : i + BATCH]) for i in range(0, len(crops), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, NUM_FEATURES))

    def _read(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        images = (np.stack(crops).astype(np.float32).transpose(0, 3, 1, 2) - 127.5) / 127.5
        return self.session.run(None, {self.input: images})[0].astype(np.float64)


def load(device: str) -> Callable[[Sequence[np.ndarray]], dict[str, np.ndarray]]:
    """Return the published network as a face reader: n crops to `arcface` (n, 512)."""
    network = IdentityNetwork(weights.require("arcface"), device=device)
    return lambda crops: {"arcface": network(crops)}
