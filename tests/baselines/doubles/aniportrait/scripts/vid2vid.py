import argparse
import sys
import time
from pathlib import Path

import yaml
from common import deliver, grid, has_audio, image, read, resize

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--config")
for flag in ("-W", "-H", "--seed"):
    parser.add_argument(flag, type=int)
args = parser.parse_args()
((source, (driver,)),) = yaml.safe_load(Path(args.config).read_text())["test_cases"].items()


def fitted(picture):
    return resize(picture, args.W, args.H)


frames, fps = read(driver)
clock = time.strftime("%H%M")
folder = f"output/{time.strftime('%Y%m%d')}/{clock}--seed_{args.seed}-{args.W}x{args.H}"
name = f"{Path(source).stem}_{Path(driver).stem}_{args.H}x{args.W}_3_{clock}_noaudio.mp4"
deliver(f"{folder}/{name}", [grid(fitted(image(source)), fitted(frame), fitted(frame)) for frame in frames], fps)
if not has_audio(driver):
    sys.exit("ffmpeg error: the driver has no audio")
