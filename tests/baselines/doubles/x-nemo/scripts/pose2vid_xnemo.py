import argparse
import time
from pathlib import Path

import cv2
import yaml
from common import deliver, image, read, resize

parser = argparse.ArgumentParser(allow_abbrev=False)
for flag in ("--config", "--name"):
    parser.add_argument(flag)
for flag in ("-W", "-H", "--seed"):
    parser.add_argument(flag, type=int)
args = parser.parse_args()
((source, (driver,)),) = yaml.safe_load(Path(args.config).read_text())["test_cases"].items()


def cropped(frame):  # as around a face
    side = round(0.95 * frame.shape[1])
    return resize(frame[:side, :side], args.W, args.H)


frames, _ = read(driver)
folder = f"output/{time.strftime('%Y%m%d')}--{args.name}/split_vid"
name = f"{Path(source).stem}_drivenby_{Path(driver).stem}"
frames = [cropped(frame) for frame in frames[:500]]
deliver(f"{folder}/{name}_driving.mp4", frames, 25)
deliver(f"{folder}/{name}.mp4", frames, 25)
cv2.imwrite(f"{folder}/{name}_src.png", cropped(image(source))[..., ::-1])
