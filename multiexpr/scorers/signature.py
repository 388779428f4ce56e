"""Signature scorer: perceptual hashes of frames, and the embedding of CLIP, by which copies of a clip are found.

The hash is pHash: the signs of the 8 x 8 lowest frequencies of a 32 x 32 grey picture, relative to their median. It
hardly changes with size, encoding, brightness and letterbox bars. The embedding is measured only with a CLIP model; it
also finds copies that are cropped or mirrored.
"""

from dataclasses import asdict

import cv2
import numpy as np
import pyarrow as pa

from exprbench.core.files import sha256_path
from multiexpr.models.detector import Models
from multiexpr.recipe import ScoreSignature
from multiexpr.scorers.base import BufferedMeasurement, Frames, Row, evenly_spaced
from multiexpr.scorers.frame_damage import without_bars
from multiexpr.scorers.laion import square_crops

VERSION = "signature-1"
SIDE, LOWEST = 32, 8


class SignatureScorer:
    """Scorer of signatures: hashes of 64 bits per frame, and the mean embedding of all crops, of length 1."""

    name = "signature"
    costly = False
    columns = [("frame_hashes", pa.list_(pa.int64())), ("embedding", pa.list_(pa.float32()))]  # noqa: RUF012

    def __init__(self, params: ScoreSignature, models: Models) -> None:
        self.params = params
        self.models = models

    def fingerprint(self) -> Row:  # noqa: D102
        from multiexpr.models.laion_network import find_clip_model

        clip = sha256_path(find_clip_model(self.params.clip) / "config.json") if self.params.clip else ""
        return {"version": VERSION, **asdict(self.params), "clip": clip}

    def frames(self, facts: Row) -> Frames:  # noqa: D102
        return Frames(times_s=evenly_spaced(facts["length_s"], self.params.num_frames), short_side=SIDE)

    def start(self, facts: Row) -> "_Measurement":  # noqa: D102
        return _Measurement(self.models, bool(self.params.clip))


class _Measurement(BufferedMeasurement):
    def __init__(self, models: Models, embed: bool) -> None:
        super().__init__()
        self.models = models
        self.embed = embed

    def compute(self) -> Row:
        frames = without_bars(self.frames)
        hashes = [perceptual_hash(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) for frame in frames]
        return {"frame_hashes": hashes, "embedding": self._embedding(frames) if self.embed else []}

    def _embedding(self, frames: list[np.ndarray]) -> list[float]:
        mean = self.models.embeddings(np.concatenate([square_crops(frame) for frame in frames])).mean(0)
        return [float(value) for value in mean / np.linalg.norm(mean)]


def perceptual_hash(gray: np.ndarray) -> int:
    """Return the 64 bits of the pHash of an (H, W) uint8 picture as a signed integer."""
    small = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:LOWEST, :LOWEST].ravel()
    bits = np.packbits(low > np.median(low))
    return int(bits.view(">i8")[0])
