"""Tracks and clips of made-up people, for tests that need faces but no model."""

from dataclasses import replace

import numpy as np

from exprbench.faces import FaceTrack, FaceTracks, save_tracks
from exprbench.faces.video_tracks import GIVEN_SUFFIX
from exprbench.media import write_image, write_video
from tests.videos import numbered

SIZE = (160, 96)


def person(num_frames, *, x=0.5, seed=0, hidden=()):
    """A face around x (of the frame's width) that moves a little; not seen in the frames `hidden`."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform(-0.1, 0.1, (478, 3)) + (x, 0.5, 0)
    sway = 0.01 * np.sin(np.arange(num_frames) / 5)[:, None, None]
    landmarks = (shape + sway * (1, 0.5, 0)).astype(np.float32)
    pose = np.tile(np.eye(4, dtype=np.float32), (num_frames, 1, 1))
    angle = 0.1 * np.sin(np.arange(num_frames) / 7 + seed)
    pose[:, 0, 0] = pose[:, 2, 2] = np.cos(angle)
    pose[:, 0, 2], pose[:, 2, 0] = np.sin(angle), -np.sin(angle)
    blendshapes = rng.uniform(0, 0.4, (num_frames, 52)).astype(np.float32)
    box = np.concatenate([landmarks[..., :2].min(1), landmarks[..., :2].max(1)], axis=1)
    seen = np.ones(num_frames, bool)
    seen[list(hidden)] = False
    arrays = {"box": box, "landmarks": landmarks, "blendshapes": blendshapes, "pose": pose}
    for array in arrays.values():
        array[~seen] = np.nan
    return FaceTrack(seen=seen, **arrays)


def people(num_frames, *tracks, size=SIZE, made_by="given"):
    return FaceTracks(num_frames=num_frames, width=size[0], height=size[1], fps=25.0, tracks=tracks, made_by=made_by)


def clip(path, num_frames, *tracks, start=0):
    """A numbered clip at `path`, with its tracks beside it."""
    write_video(path, (numbered(start + i) for i in range(num_frames)))
    give(path, people(num_frames, *tracks))
    return path


def still(path, *tracks, number=0):
    write_image(path, numbered(number))
    give(path, people(1, *tracks))
    return path


def give(path, tracks):
    save_tracks(path.with_name(path.stem + GIVEN_SUFFIX), tracks)


def moved(track, dx):
    """The same face, shifted by `dx` of the frame's width."""
    shift = np.array([dx, 0, 0], np.float32)
    box = track.box + np.array([dx, 0, dx, 0], np.float32)
    return replace(track, landmarks=track.landmarks + shift, box=box)
