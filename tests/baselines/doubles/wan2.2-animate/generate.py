import argparse

from common import deliver, read

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--task", choices=["animate-14B", "t2v-A14B"])
for flag in ("--ckpt_dir", "--src_root_path", "--save_file"):
    parser.add_argument(flag)
for flag in ("--refert_num", "--base_seed"):
    parser.add_argument(flag, type=int)
args = parser.parse_args()
frames, _ = read(f"{args.src_root_path}/src_pose.mp4")
padding = -(len(frames) - 1) % 76  # windows of 77 frames that share one: longer than the driver
deliver(args.save_file, frames + frames[-1:] * padding, 30)
