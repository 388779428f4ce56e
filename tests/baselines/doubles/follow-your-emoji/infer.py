import argparse
import os
from pathlib import Path

import numpy as np
import yaml
from common import deliver, letterbox

parser = argparse.ArgumentParser(allow_abbrev=False)
for flag in ("--config", "--output_path", "--input_path", "--lmk_path"):
    parser.add_argument(flag, required=True)
parser.add_argument("--seed", type=int, default=42)
args = parser.parse_args()
assert os.environ["LOCAL_RANK"] == "0"
template = np.load(args.lmk_path, allow_pickle=True)
config = yaml.safe_load(Path(args.config).read_text())
frames = [letterbox(template[i]["frame"][..., ::-1], 512, 512) for i in range(config["video_length"])]
name = f"{Path(args.lmk_path).stem}_{Path(args.input_path).stem}"
deliver(f"{args.output_path}/{name}_all.mp4", frames, 8)
deliver(f"{args.output_path}/{name}_oo.mp4", frames, 7)
