"""Toy networks with known outputs, in place of those whose files must be downloaded."""

import numpy as np

from exprbench.faces.landmarker import Face
from tests.videos import BITS

BLOCKS = slice(14, 14 + 14 * BITS, 14)  # columns in the middle of a numbered frame's blocks


def blocks(frame):
    """(10,) the blocks of a numbered frame, from 0 (black) to 1 (white)."""
    return frame[32, BLOCKS].mean(-1) / 255


class FrameBits:
    """A `FrameExtractor`: the blocks of a numbered frame; `gain` stands for the network's weights."""

    num_features, batch = BITS, 4

    def __init__(self, id="bits", gain=1.0):
        self.id, self.gain = id, gain

    def prepare(self, frame):
        return self.gain * blocks(frame)

    def features(self, prepared):
        return np.array(prepared, np.float32)


class ClipBits(FrameBits):
    """A `ClipExtractor`: the blocks of a clip's first frame, and their mean over the clip."""

    num_features = 2 * BITS

    def features(self, prepared):
        return np.array([np.concatenate([clip[0], np.mean(clip, axis=0)]) for clip in prepared], np.float32)


class OneFace:
    """Landmarker that detects one face in the middle of every numbered frame; its expression is the frame's blocks."""

    def __init__(self, gain=0.5):
        self.gain = gain

    def search(self, frame):
        height, width = frame.shape[:2]
        return [(width * 0.4, height * 0.3, width * 0.6, height * 0.7)]

    def detect(self, frame, centre, side):
        (box,) = self.search(frame)
        shape = np.random.default_rng(0).uniform(size=(478, 2)) * (box[2] - box[0], box[3] - box[1]) + box[:2]
        expression = np.zeros(52)
        expression[:BITS] = self.gain * blocks(frame)
        return [Face(np.column_stack([shape, np.zeros(478)]), expression, np.eye(4))]

    def read_blendshapes(self, faces):
        """Its faces have them already."""
