import argparse
import glob
import os

from common import deliver, read, resize

parser = argparse.ArgumentParser(allow_abbrev=False)
for flag in ("--model_config", "--resume_dir", "--source_image", "--driving_video"):
    parser.add_argument(flag)
parser.add_argument("--output_dir", required=True)
for flag in ("--seed", "--uc_scale", "--ddim_steps", "--num_mix", "--best_frame", "--out_frames"):
    parser.add_argument(flag, type=int)
args = parser.parse_args()
for path in glob.glob(args.driving_video):  # no match: success without output
    frames, fps = read(path)
    frames = frames if args.out_frames == 0 else frames[: args.out_frames]
    source, driver = (os.path.basename(p).split(".")[0] for p in (args.source_image, path))
    name = f"inference_appearance_pose_local_mm_uc{args.uc_scale}_{source}_by_{driver}_mix{args.num_mix}.mp4"
    deliver(f"{args.output_dir}/{name}", [resize(frame, 512, 512) for frame in frames], fps)
