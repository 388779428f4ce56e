"""What MediaPipe reads from drawn faces, against the truth that they are drawn from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.damage_videos import CRF, DAMAGES, HEIGHT, Subject
from exprbench.faces import FaceTracks
from exprbench.faces.video_tracks import main_faces, track_faces
from exprbench.media import write_video
from exprbench.metrics.face_errors import face_errors
from exprbench.metrics.face_pair import FacePair, mean_seen
from exprbench.toy_benchmark.animation import Animation, perform
from exprbench.toy_benchmark.cast import CAST, Character
from exprbench.toy_benchmark.scene import render

COLUMNS = (
    *("lmd", "lmd_px", "lmd_iod", "lmd_rigid", "lmd_eyes", "lmd_lips", "lmd_brows"),
    *("mae", "mae_in_head", "mae_rel", "aed", "aed_brows", "aed_eyes", "aed_mouth", "aed_rel", "follow_expression"),
    *("apd", "apd_deg", "apd_rel", "follow_pose"),
)
RESPONSES = {"expression jitter": ("aed", "aed_rel"), "gaze": ("mae",), "head": ("apd", "apd_deg")}


def recovery(folder: Path, num_frames: int) -> dict[str, dict[str, float]]:
    """Return person -> column -> error of what MediaPipe reads in a video of the person."""
    return {person.name: _recovered(folder, person, perform(i, num_frames)) for i, person in enumerate(CAST)}


def _recovered(folder: Path, person: Character, motion: Animation) -> dict[str, float]:
    frames, truth = render([person], [motion], (HEIGHT, HEIGHT))
    path = folder / f"{person.name}.mp4"
    write_video(path, frames, crf=CRF)
    return _errors(truth, track_faces(path), COLUMNS)


def _errors(truth: FaceTracks, found: FaceTracks, columns: Sequence[str]) -> dict[str, float]:
    """Return column -> error of the first main face of a video."""
    pair = FacePair(
        reference=truth.tracks[0],
        predicted=main_faces(found)[0],
        reference_size=truth.size,
        predicted_size=found.size,
    )
    return {name: mean_seen(values) for name, values in face_errors(pair, columns).items()}


def true_responses(subject: Subject) -> dict[str, dict[str, list[float]]]:
    """Return damage -> column -> true value at each strength, from the drawn truth of both sides."""
    drawn = [subject.drawn(case) for case in subject.cases() if case.split == "single"]
    return {
        name: {
            column: [float(np.mean([_true(*p, name, column, x) for p in drawn])) for x in DAMAGES[name].strengths]
            for column in columns
        }
        for name, columns in RESPONSES.items()
    }


def _true(people: Sequence[Character], motions: Sequence[Animation], name: str, column: str, strength: float) -> float:
    damaged = [DAMAGES[name].apply(motion, strength) for motion in motions]
    sides = [render(people, side, (HEIGHT, HEIGHT))[1] for side in (motions, damaged)]
    return _errors(sides[0], sides[1], (column,))[column]
