"""Curation the plain way: one process, every frame decoded once a stage, every stage on every clip.

    python -m benchmarks.curation_plain CLIP...

People with YOLO frame by frame, blur with OpenCV's Laplacian, faces with MediaPipe's landmarker on whole frames, each
as its own documentation shows it. Prints the seconds it took and what it found.
"""

import json
import sys
import time
from collections.abc import Iterator

import cv2
import numpy as np

from exprbench import weights
from multiexpr.models.detector import find_people_model, restrict_ultralytics

PERSON = 0  # of COCO's classes
MAX_FACES = 5


def frames(path: str) -> Iterator[np.ndarray]:
    """Every frame, BGR."""
    video = cv2.VideoCapture(path)
    while True:
        there, frame = video.read()
        if not there:
            return
        yield frame


def people(paths: list[str]) -> list[float]:
    """Mean number of people a frame."""
    restrict_ultralytics()
    from ultralytics import YOLO

    model = YOLO(str(find_people_model("yolov8n")), task="detect")
    return [
        float(np.mean([len(model(frame, classes=[PERSON], verbose=False)[0].boxes) for frame in frames(path)]))
        for path in paths
    ]


def sharpness(paths: list[str]) -> list[float]:
    """Mean variance of the Laplacian."""
    return [
        float(np.mean([cv2.Laplacian(cv2.cvtColor(f, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var() for f in frames(path)]))
        for path in paths
    ]


def faces(paths: list[str]) -> list[float]:
    """Mean number of faces a frame."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(weights.require("face_landmarker"))),
        num_faces=MAX_FACES,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    with vision.FaceLandmarker.create_from_options(options) as landmarker:

        def count(frame: np.ndarray) -> int:
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            return len(landmarker.detect(image).face_landmarks)

        return [float(np.mean([count(frame) for frame in frames(path)])) for path in paths]


def main() -> None:
    """Run the stages one after the other."""
    paths = sys.argv[1:]
    start = time.perf_counter()
    found = {stage.__name__: stage(paths) for stage in (people, sharpness, faces)}
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "clips": len(paths), **found}))


if __name__ == "__main__":
    main()
