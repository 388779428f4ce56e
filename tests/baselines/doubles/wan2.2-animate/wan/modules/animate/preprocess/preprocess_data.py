import argparse
import os
import shutil

parser = argparse.ArgumentParser(allow_abbrev=False)
for flag in ("--ckpt_path", "--video_path", "--refer_path", "--save_path"):
    parser.add_argument(flag)
parser.add_argument("--resolution_area", type=int, nargs=2)
parser.add_argument("--fps", type=int, default=30)
args = parser.parse_args()
assert args.fps == -1
os.makedirs(args.save_path)
shutil.copy(args.video_path, f"{args.save_path}/src_pose.mp4")
shutil.copy(args.refer_path, f"{args.save_path}/src_ref.png")
