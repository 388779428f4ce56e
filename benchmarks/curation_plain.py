"""Curation by a plain script: one process, every frame decoded once per stage, every stage on every clip.

    python -m benchmarks.curation_plain CLIP...

It counts people with YOLO frame by frame, measures blur with OpenCV's Laplacian, and counts faces with MediaPipe's
landmarker on whole frames, each as in the documentation of the library. It prints the seconds and the results as JSON.
"""

import json
import sys
import time
from collections.abc import Iterator

import cv2
import numpy as np

from exprbench import weights
from multiexpr.models.detector import find_people_model, restrict_ultralytics

PERSON = 0  # class of COCO
MAX_FACES = 5


def frames(path: str) -> Iterator[np.ndarray]:
    """Yield every frame, (H, W, 3) uint8 BGR."""
    video = cv2.VideoCapture(path)
    while True:
        is_read, frame = video.read()
        if not is_read:
            return
        yield frame


def people(paths: list[str]) -> list[float]:
    """Return the mean number of people per frame of each clip."""
    restrict_ultralytics()
    from ultralytics import YOLO

    model = YOLO(str(find_people_model("yolov8n")), task="detect")
    return [
        float(np.mean([len(model(frame, classes=[PERSON], verbose=False)[0].boxes) for frame in frames(path)]))
        for path in paths
    ]


def sharpness(paths: list[str]) -> list[float]:
    """Return the mean variance of the Laplacian of each clip."""
    return [
        float(np.mean([cv2.Laplacian(cv2.cvtColor(f, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var() for f in frames(path)]))
        for path in paths
    ]


def faces(paths: list[str]) -> list[float]:
    """Return the mean number of faces per frame of each clip."""
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
    """Run all stages on the clips of the command line and print the results as JSON."""
    paths = sys.argv[1:]
    start = time.perf_counter()
    results = {stage.__name__: stage(paths) for stage in (people, sharpness, faces)}
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "clips": len(paths), **results}))


if __name__ == "__main__":
    main()
