"""Parts shared by the doubles: small scripts with the flags, names, rates, sizes and bad habits of the real methods.

They run in the environment of a method, with av, numpy, OpenCV and PyYAML. Each copies the driver, in the shape in
which the method would return it. $DOUBLE_HABIT selects a failure.
"""

import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

HABIT = os.environ.get("DOUBLE_HABIT", "")
MARK = Path(os.environ.get("DOUBLE_MARK", "mark"))


def read(path):
    """Return the RGB frames and the rate of a video."""
    with av.open(str(path)) as file:
        rate = float(file.streams.video[0].average_rate)
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)], rate


def image(path):
    return cv2.imread(str(path))[..., ::-1]


def has_audio(path):
    with av.open(str(path)) as file:
        return bool(file.streams.audio)


def resize(frame, width, height):
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if height < len(frame) else cv2.INTER_CUBIC)


def letterbox(frame, width, height):
    scale = min(width / frame.shape[1], height / frame.shape[0])
    inner = resize(frame, round(scale * frame.shape[1]), round(scale * frame.shape[0]))
    outer = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    outer[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return outer


def grid(*pictures):
    """Put pictures of one size next to each other with 2 pixels around each, as torchvision's `make_grid` does."""
    height, width = pictures[0].shape[:2]
    frame = np.zeros((height + 4, len(pictures) * (width + 2) + 2, 3), np.uint8)
    for i, picture in enumerate(pictures):
        left = 2 + i * (width + 2)
        frame[2 : 2 + height, left : left + width] = picture
    return frame


def write(path, frames, fps):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "8"})
        stream.height, stream.width = (n & ~1 for n in frames[0].shape[:2])
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            even = np.ascontiguousarray(frame[: stream.height, : stream.width])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        out.mux(stream.encode())


def deliver(path, frames, fps):
    """Write the result, or do what $DOUBLE_HABIT says."""
    print(f"device {os.environ.get('CUDA_VISIBLE_DEVICES')}", flush=True)
    if HABIT == "hang":
        time.sleep(3600)
    if HABIT == "crash" or (HABIT == "crash once" and not MARK.exists()):
        MARK.touch()
        raise RuntimeError("device-side assert")
    if HABIT == "out of memory":
        sys.exit("torch.cuda.OutOfMemoryError: CUDA out of memory")
    if HABIT == "no face":
        sys.exit("Exception: No face detected in the frame #0")
    if HABIT == "no output":
        return
    if HABIT == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
        MARK.write_text(str(child.pid))
    frames = {"short": frames[:-3], "black": [f * 0 for f in frames], "frozen": frames[:1] * len(frames)}.get(
        HABIT, frames
    )
    write(path, frames, fps)
    if HABIT == "partial":
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[: len(data) // 2])
    if HABIT == "fails after":
        sys.exit("muxing the audio failed")
