"""Who is where in every frame: tracks, landmarks, gaze, expression, head pose.

What needs MediaPipe or OpenCV lies in the modules and is loaded when used; the record of a face is light.
"""

from exprbench.faces.derived import axis_angle, eye_closed, gaze, rotation
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
