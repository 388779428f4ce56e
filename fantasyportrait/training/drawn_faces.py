"""Data of the `tiny` recipe: drawn faces with exact tracks.

All clips of a person begin with the same face at rest, so the reference image does not give away which clip it is: only
the expression does.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from exprbench.core.files import sha256_path
from exprbench.faces import save_tracks
from exprbench.faces.video_tracks import given_path
from exprbench.media import write_image, write_video
from exprbench.toy_benchmark.animation import Animation, perform, still
from exprbench.toy_benchmark.cast import CAST
from exprbench.toy_benchmark.scene import render

SIDE = 128
NUM_FRAMES = 9
PEOPLE = CAST[:2]
SEEDS = tuple(range(1, 7))  # one performance for each, of every person
SKIPPED = 40  # frames of a performance, after which faces are well away from rest
RAMP = 3  # frames from rest to the performance


def draw_clips(folder: Path) -> None:
    """Write videos of every person with every performance, and a portrait of each, with exact face tracks."""
    if (folder / "done").is_file():
        return
    for person in PEOPLE:
        name = person.name.lower()
        for seed in SEEDS:
            frames, tracks = render((person,), [perform_from_rest(seed)], (SIDE, SIDE))
            path = folder / "videos" / f"{name}-{seed}.mp4"
            write_video(path, frames, crf=12)
            save_tracks(given_path(path), replace(tracks, video_sha256=sha256_path(path)))
        frames, tracks = render((person,), [still()], (SIDE, SIDE))
        path = folder / "portraits" / f"{name}.png"
        write_image(path, next(frames))
        save_tracks(given_path(path), replace(tracks, video_sha256=sha256_path(path)))
    (folder / "done").touch()


def perform_from_rest(seed: int) -> Animation:
    """Return a part of a performance that begins at rest, `NUM_FRAMES` long."""
    whole = perform(seed, SKIPPED + NUM_FRAMES)
    weight = np.minimum(np.arange(NUM_FRAMES) / RAMP, 1)[:, None]
    gaze = (1 - weight) * (0, 0, 1) + weight * whole.gaze[SKIPPED:]
    return Animation(
        rotation=Rotation.from_rotvec(weight * whole.rotvec[SKIPPED:]).as_matrix(),
        gaze=gaze / np.linalg.norm(gaze, axis=1, keepdims=True),
        blendshapes=weight * whole.blendshapes[SKIPPED:],
        offset_cm=weight * whole.offset_cm[SKIPPED:],
        seen=whole.seen[SKIPPED:],
    )
