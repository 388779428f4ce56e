import argparse

from common import deliver, has_audio, read, resize

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--config", required=True)
for flag in ("--source", "--driver", "--output-path"):
    parser.add_argument(flag)
parser.add_argument("--seed", type=int)
parser.add_argument("--limit", type=float, default=2.5)
parser.add_argument("--no-audio", action="store_true")
args = parser.parse_args()
assert has_audio(args.driver), "audio_fps"
frames, fps = read(args.driver)
frames = frames[: int(fps * args.limit)]
side = round(0.95 * frames[0].shape[0])
frames = [resize(frame[:side, :side], 512, 512) for frame in frames]
deliver(args.output_path, frames[1:], fps)
