"""Write the landmark template of a driver for Follow-Your-Emoji; runs in the environment of that method.

Usage: make_template.py DRIVER TEMPLATE.npy, with the repository in PYTHONPATH.
"""

import sys
from typing import Any

import cv2
import numpy as np


def make_template(driver: str, template: str) -> None:
    """Write one dictionary of landmarks per frame of a video, and exit with an error at a frame without a face."""
    from media_pipe.mp_utils import LMKExtractor  # of the repository

    extract, faces = LMKExtractor(), []
    for index, frame in enumerate(_frames(driver)):
        face = extract(frame)
        if face is None:
            sys.exit(f"no face in frame {index} of {driver}")
        faces.append({**face, "width": frame.shape[1], "height": frame.shape[0]})
    np.save(template, np.array(faces, dtype=object))


def _frames(driver: str) -> Any:
    video = cv2.VideoCapture(driver)
    while True:
        ok, frame = video.read()
        if not ok:
            return
        yield frame


if __name__ == "__main__":
    make_template(sys.argv[1], sys.argv[2])
