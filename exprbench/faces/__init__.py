"""Face tracking: tracks, landmarks, gaze, expression and head pose of every person in a video.

Modules that need MediaPipe or OpenCV are not imported here; `FaceTrack` and the functions below need only NumPy.
"""

from exprbench.faces.gaze import eye_closed, gaze
from exprbench.faces.head_pose import axis_angle, rotation
from exprbench.faces.tracks import FaceTrack, FaceTracks, TracksError, load_tracks, save_tracks

__all__ = [
    "FaceTrack",
    "FaceTracks",
    "TracksError",
    "axis_angle",
    "eye_closed",
    "gaze",
    "load_tracks",
    "rotation",
    "save_tracks",
]
