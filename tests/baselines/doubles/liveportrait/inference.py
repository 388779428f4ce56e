import argparse
from pathlib import Path

from common import deliver, image, read, resize

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("-s", "--source")
parser.add_argument("-d", "--driving")
parser.add_argument("-o", "--output-dir", "--output_dir")
parser.add_argument("--flag-crop-driving-video", "--flag_crop_driving_video", action="store_true")
args = parser.parse_args()
frames, fps = read(args.driving)
Path(args.driving).with_suffix(".pkl").write_bytes(b"a template next to the driver")
height, width = image(args.source).shape[:2]
name = f"{Path(args.source).stem}--{Path(args.driving).stem}"
frames = [resize(frame, width, height) for frame in frames]
deliver(f"{args.output_dir}/{name}_concat.mp4", frames, int(fps))
deliver(f"{args.output_dir}/{name}.mp4", frames, int(fps))
