import argparse
import os

from common import deliver, letterbox, read, resize

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--image_path")
parser.add_argument("--driving_video_path")
parser.add_argument("--output_path", default="outputs")
args = parser.parse_args()
assert os.path.isdir("pretrained_models")  # weights are relative to the working folder
frames, fps = read(args.driving_video_path)
shown = [frames[min(len(frames) - 1, int(k / 12 * fps + 1e-9))] for k in range(47)]
wide = frames[0].shape[1] / frames[0].shape[0] > 1.5
if wide:
    shown = [resize(f, round(480 * f.shape[1] / f.shape[0]), 480) for f in shown]
    left = (shown[0].shape[1] - 720) // 2
    shown = [f[:, left : left + 720] for f in shown]
else:
    shown = [letterbox(f, 720, 480) for f in shown]
names = [os.path.basename(path).split(".")[0] for path in (args.image_path, args.driving_video_path)]
path = f"{args.output_path}/{names[0]}-{names[1]}_output.mp4"
deliver(path.replace("_output", "_output_merge"), shown, 12)
deliver(path, shown, 12)
