"""A raw collection built from the clips of ../shared/data, with the expected outcome of every file."""

import shutil
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from exprbench.media import open_clip, read_image
from tests.videos import write

FPS, SECONDS = 25, 3
SIZE = (640, 360)


def encode(path, frames, fps=FPS):
    """Write a small H.264 file with a fast preset."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "18"})
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = frames[0].shape[:2]
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        out.mux(stream.encode())
    return path


def frames_of(path, *, size=None, seconds=SECONDS, fps=FPS):
    with open_clip(path, fps=fps, max_frames=round(seconds * fps)) as clip:
        return [cv2.resize(f, size, interpolation=cv2.INTER_AREA) if size else f.copy() for f in clip]


@lru_cache(maxsize=8)
def two_people(shared_path):
    """Return the frames of the two-person clip at 640 x 360."""
    return tuple(frames_of(shared_path, size=SIZE))


def side_by_side(*columns, height=360):
    """Return clips side by side, cut to the shortest."""
    scaled = [[cv2.resize(f, (round(f.shape[1] * height / f.shape[0] / 2) * 2, height)) for f in c] for c in columns]
    return [np.hstack(row) for row in zip(*scaled, strict=False)]


def blurred(frames, sigma):
    return [cv2.GaussianBlur(f, (0, 0), sigma) for f in frames]


def still(image, count=FPS * SECONDS, height=360, noise=0.0):
    """Return a photograph as a clip; `noise` is the standard deviation of camera noise."""
    rng = np.random.default_rng(0)
    width = round(image.shape[1] * height / image.shape[0] / 2) * 2
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if not noise:
        return [small] * count
    return [np.clip(small + rng.normal(0, noise, small.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def waved(image, count=FPS * SECONDS, height=360):
    """Return a clip of a photograph that is moved, rotated in its plane and zoomed: no face in it moves by itself."""
    small = still(image, 1, height)[0]
    centre = small.shape[1] / 2, small.shape[0] / 2
    frames = []
    for k in range(count):
        phase = 2 * np.pi * k / count
        turn = cv2.getRotationMatrix2D(centre, 8 * np.sin(phase), 1 + 0.1 * np.sin(2 * phase))
        turn[:, 2] += 20 * np.cos(phase), 10 * np.sin(phase)
        frames.append(cv2.warpAffine(small, turn, small.shape[1::-1], borderMode=cv2.BORDER_REFLECT))
    return frames


def photograph(name):
    """Return a photograph that ships with ultralytics, or scikit-image's astronaut."""
    if name == "astronaut":
        return pytest.importorskip("skimage.data").astronaut()
    (folder,) = find_spec("ultralytics").submodule_search_locations
    return read_image(Path(folder) / "assets" / name)


def raw_collection(root, shared, *, seconds=SECONDS):
    """Write the collection and return {name: expected outcome}."""
    count = round(seconds * FPS)
    two = list(two_people(shared("multi/two_person.mp4")))[:count]
    drivers = {name: shared(f"driving/{name}.mp4") for name in ("d10", "d12", "trump", "biden", "d13", "d3")}
    single = {name: frames_of(path, size=None, seconds=seconds) for name, path in drivers.items()}
    zidane, bus = (photograph(name) for name in ("zidane.jpg", "bus.jpg"))
    film, tree, walkers = (shared(f"raw/{name}.avi") for name in ("Megamind", "tree", "vtest"))
    walking = frames_of(walkers, seconds=seconds)
    astronaut, portrait = photograph("astronaut"), read_image(shared("portraits/s10.jpg"))
    clips = {
        "two.mp4": (two, "kept"),
        "frozen.mp4": ([two[10]] * count, "inexpressive"),
        "blurred.mp4": (blurred(two, 6), "blurred"),  # with 8, the people detector is at its threshold
        "dark.mp4": ([(f * 0.2).astype(np.uint8) for f in two], "dark"),
        "one.mp4": (single["d10"], "few_people"),
        "pair_a.mp4": (side_by_side(single["d10"], single["trump"]), "kept"),
        "pair_b.mp4": (side_by_side(single["d12"], single["biden"]), "kept"),
        "five.mp4": (side_by_side(*(single[n] for n in ("d10", "d12", "trump", "biden", "d3"))), "kept"),
        "zidane.mp4": (still(zidane, count, noise=3), "few_faces"),  # the other man is in profile
        "bus.mp4": (still(bus, count, height=540, noise=3), "inexpressive"),  # a photograph, with small faces
        "cut.mp4": ([*two[: count // 2], *side_by_side(single["d10"], single["trump"])[: count // 2]], "cut"),
        "far.mp4": (walking, "few_people"),
        "walkers.mp4": ([cv2.resize(f[100:400, 300:600], (480, 480)) for f in walking], "few_faces"),
        "wobbling.mp4": (side_by_side(waved(astronaut, count), waved(portrait, count)), "inexpressive"),
        "tree.mp4": (frames_of(tree, size=(480, 360), seconds=seconds), "few_people"),
    }
    for name, (frames, _) in clips.items():
        size = frames[0].shape[1::-1]
        encode(root / name, [f if f.shape[1::-1] == size else cv2.resize(f, size) for f in frames])
    shutil.copy(film, root / "film.avi")
    return {**{name: verdict for name, (_, verdict) in clips.items()}, "film.avi": "few_people"}


def broken_files(root):
    """Write every kind of broken file and return {name: error code, or None if the listing skips it}."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    noise = [np.kron(rng.integers(0, 255, (24, 40, 3), np.uint8), np.ones((16, 16, 1), np.uint8)) for _ in range(60)]
    whole = write(root / "whole.mp4", noise).read_bytes()
    write(root / "short.mkv", noise).write_bytes((root / "short.mkv").read_bytes()[:200_000])
    (root / "whole.mp4").unlink()
    (root / "empty.mp4").touch()
    (root / "text.mp4").write_text("this is no video\n" * 200)
    (root / "headless.mp4").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    start = damaged.index(b"mdat") + 60_000
    damaged[start : start + 60_000] = rng.integers(0, 255, 60_000, np.uint8).tobytes()
    (root / "damaged.mp4").write_bytes(damaged)
    with av.open(str(root / "sound.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        out.mux(stream.encode(sound))
        out.mux(stream.encode())
    return {
        "short.mkv": "truncated",
        "empty.mp4": None,
        "text.mp4": "open_failed",
        "headless.mp4": "open_failed",
        "damaged.mp4": "decode_errors",
        "sound.mp4": "no_video_stream",
    }
