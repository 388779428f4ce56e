import argparse

import numpy as np
from common import deliver, image, read, resize

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("verb", choices=["sample"])
for flag in ("--model", "--portrait", "--assign", "--out"):
    parser.add_argument(flag, required=True)
parser.add_argument("--driver", action="append", required=True)
parser.add_argument("--seed", type=int)
parser.add_argument("--fps", type=float)
args = parser.parse_args()
height, width = image(args.portrait).shape[:2]
videos = [read(path)[0] for path in args.driver]
used = videos if len(videos) == 1 else [videos[int(pair.split(".")[0])] for pair in args.assign.split(",")]
frames = [np.hstack([resize(d[i], width // len(used), height) for d in used]) for i in range(min(map(len, used)))]
deliver(args.out, frames, args.fps)
