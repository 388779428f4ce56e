import argparse


def parse(multi):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("portrait_checkpoint", "alignment_model_path", "det_model_path", "pd_fpg_model_path"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--wan_model_path", required=True)
    parser.add_argument("--input_image_path", required=True)
    parser.add_argument("--driven_video_path", required=True, nargs="+" if multi else None)
    for name in ("max_size", "num_frames", "seed", *(["fps"] if multi else [])):
        parser.add_argument(f"--{name}", type=int)
    for name in ("cfg_scale", "portrait_scale", "portrait_cfg_scale"):
        parser.add_argument(f"--{name}", type=float)
    for name in ("prompt", "output_path", "scale_image"):
        parser.add_argument(f"--{name}")
    return parser.parse_args()


def rounded(size, longest):
    scale = longest / max(size)
    return [-(-round(scale * side) // 16) * 16 for side in size]


def length(num_frames, limit):
    return (min(num_frames, limit) - 1) // 4 * 4 + 1
