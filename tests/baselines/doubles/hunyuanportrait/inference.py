import argparse
import time
from pathlib import Path

import yaml
from common import deliver, image, read, resize

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--config", default="./config/hunyuan-portrait.yaml")
parser.add_argument("--video_path")
parser.add_argument("--image_path")
args = parser.parse_args()
config = yaml.safe_load(Path(args.config).read_text())
assert config["num_inference_steps"] == 25  # of the template
assert isinstance(config["seed"], int)
frames, fps = read(args.video_path)
name = f"{time.strftime('%Y%m%d_%H%M%S')}_{Path(args.image_path).stem}_{Path(args.video_path).stem}"
height, width = image(args.image_path).shape[:2]
deliver(f"{config['output_dir']}/{name}/cropped.mp4", [resize(frame, 512, 512) for frame in frames], fps)
deliver(f"{config['output_dir']}/{name}/full_resolution.mp4", [resize(f, width, height) for f in frames], fps)
