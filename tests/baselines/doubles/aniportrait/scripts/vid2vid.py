import argparse
import sys
import time
from pathlib import Path

import numpy as np
import yaml
from common import deliver, has_audio, image, read, resize

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--config")
for flag in ("-W", "-H", "--seed"):
    parser.add_argument(flag, type=int)
args = parser.parse_args()
((source, (driver,)),) = yaml.safe_load(Path(args.config).read_text())["test_cases"].items()


def panels(*pictures):  # 2 pixels around each, as torchvision's make_grid
    grid = np.zeros((args.H + 4, 3 * (args.W + 2) + 2, 3), np.uint8)
    for i, picture in enumerate(pictures):
        left = 2 + i * (args.W + 2)
        grid[2 : 2 + args.H, left : left + args.W] = resize(picture, args.W, args.H)
    return grid


frames, fps = read(driver)
clock = time.strftime("%H%M")
folder = f"output/{time.strftime('%Y%m%d')}/{clock}--seed_{args.seed}-{args.W}x{args.H}"
name = f"{Path(source).stem}_{Path(driver).stem}_{args.H}x{args.W}_3_{clock}_noaudio.mp4"
deliver(f"{folder}/{name}", [panels(image(source), frame, frame) for frame in frames], fps)
if not has_audio(driver):
    sys.exit("ffmpeg error: the driver has no audio")
