import argparse
from pathlib import Path

import yaml
from common import deliver, image, read, resize

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--cfg")
parser.add_argument("--mode", choices=["animation", "img_edit", "vid_edit", "manipulation"])
args = parser.parse_args()
config = yaml.safe_load(Path(args.cfg).read_text())
assert len(config["motion_id"]) == len(config["motion_value"])
assert not any(config["motion_value"])
frames, fps = read(config["driving_path"])
height, width = image(config["source_path"]).shape[:2]
folder = f"{config['save_path']}/{Path(args.cfg).stem}"
deliver(f"{folder}/vid_all.mp4", frames, fps)
deliver(f"{folder}/vid_animation.mp4", [resize(frame, width, height) for frame in frames], fps)
