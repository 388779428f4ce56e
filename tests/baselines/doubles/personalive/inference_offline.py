import argparse
import time
from pathlib import Path

from common import deliver, read, resize

parser = argparse.ArgumentParser(allow_abbrev=False)
for flag in ("--name", "--reference_image", "--driving_video"):
    parser.add_argument(flag)
parser.add_argument("-L", type=int, default=100)
parser.add_argument("--seed", type=int)
args = parser.parse_args()
frames, _ = read(args.driving_video)
frames = [resize(frame, 512, 512) for frame in frames[: min(len(frames) // 4 * 4, args.L)]]
folder = f"results/{time.strftime('%Y%m%d')}--{args.name}"
name = f"{Path(args.reference_image).stem}_{Path(args.driving_video).stem}.mp4"
deliver(f"{folder}/concat_vid/{name}", frames, 25)
deliver(f"{folder}/split_vid/{name}", frames, 25)
