"""Everything that can change between two runs: predictions, the benchmark, models and networks."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from exprbench.faces import video_tracks
from exprbench.metrics import face_readers
from exprbench.scoring import computations
from tests.folders import rewritten
from tests.scoring.conftest import NUM_FRAMES, Method
from tests.toys import ClipBits, FrameBits
from tests.videos import numbered

OWN, OTHER, PAIR = "single-self-0001", "single-self-0002", "multi-cross-0001"
FACES = {"metrics": ["lmd", "mae", "aed"], "split": "single", "track": "self"}
SETS = {"metrics": ["fid", "fid_video_mean", "fvd"], "split": "single", "track": "self"}
PAPER = {"metrics": ["mae", "aed"], "split": "single", "track": "self", "profile": "paper"}
KINDS = {"fid": FrameBits, "fvd": ClipBits}
TOYS = {name: kind() for name, kind in KINDS.items()}


@dataclass
class World:
    """Everything that a change can affect."""

    method: Method
    patch: pytest.MonkeyPatch
    folder: Path
    model_file: object

    def changed_benchmark(self, **changes):
        """Score on a copy of the benchmark with other files or fields."""
        self.method.bench = rewritten(self.method.bench, self.folder / "changed", **changes)

    def other_pictures(self, case_id=OWN):
        """Replace a prediction by another one."""
        self.method.write(case_id, [numbered(7 * i % 100) for i in range(NUM_FRAMES)])

    def without_tracks(self, landmarker):
        """Remove the track files of the predictions, so that faces are detected."""
        for path in self.method.folder.glob("*.tracks.npz"):
            path.unlink()
        self.model_file("face_landmarker", lambda path: path.write_bytes(b"a model"))
        for module in (video_tracks, computations):
            self.patch.setattr(module, "landmarker", lambda: landmarker)

    def paper_networks(self):
        """Replace L2CS-Net and SMIRK by networks that return a crop's brightness, doubled on a GPU."""
        for name in ("l2cs", "smirk"):
            self.model_file(name, lambda path: path.write_bytes(b"a model"))

        def brightness(crops, device):
            return (2 if device == "cuda" else 1) * np.array([[crop.mean() / 255] for crop in crops])

        def read_gaze(crops, device):
            return {"gaze": unit(brightness(crops, device) * (1, 0, 0) + (0, 0, 1))}

        def read_expression(crops, device):
            return {name: brightness(crops, device) * np.ones(n) for name, n in (("expression", 55), ("pose", 3))}

        networks = {"l2cs": read_gaze, "smirk": read_expression}
        self.patch.setattr(face_readers, "loaded", lambda name, device: partial(networks[name], device=device))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
