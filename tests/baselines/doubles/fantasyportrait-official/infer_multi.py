import time
from pathlib import Path

import cv2
import numpy as np
from common import deliver, image, read, resize
from flags import length, parse, rounded

SAME = 0.02  # of squared differences, relative to the pictures


def put_together(source, drivers, count):
    """Show each driver where the source shows its first frame, else all of them next to each other."""
    places = [place_of(driver[0], source) for driver in drivers]
    if None in places:
        strip, height = source.shape[1] // len(drivers), source.shape[0]
        return [np.hstack([resize(driver[i], strip, height) for driver in drivers]) for i in range(count)]
    frames = []
    for i in range(count):
        frame = source.copy()
        for driver, (left, top) in zip(drivers, places, strict=True):
            frame[top : top + driver[i].shape[0], left : left + driver[i].shape[1]] = driver[i]
        frames.append(frame)
    return frames


def place_of(picture, source):
    if picture.shape[0] > source.shape[0] or picture.shape[1] > source.shape[1]:
        return None
    errors = cv2.matchTemplate(source, picture, cv2.TM_SQDIFF_NORMED)
    best, _, place, _ = cv2.minMaxLoc(errors)
    return place if best < SAME else None


args = parse(multi=True)
drivers = [read(path)[0] for path in args.driven_video_path]
stems = [Path(path).stem for path in args.driven_video_path]
assert len(set(stems)) == len(stems) >= 2
height, width = rounded(image(args.input_image_path).shape[:2], args.max_size)
count = length(min(map(len, drivers)), args.num_frames)
frames = [resize(frame, width, height) for frame in put_together(image(args.input_image_path), drivers, count)]
Path("driven_video").mkdir()
folder = f"{time.strftime('%Y%m%d_%H%M%S')}_{Path(args.input_image_path).stem}_{'_'.join(stems)}"
deliver(f"{args.output_path}/{folder}/output.mp4", frames, args.fps)
