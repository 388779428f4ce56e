import argparse

from common import deliver, grid, has_audio, image, read, resize

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


def cropped(frame):  # as around a face
    side = round(0.95 * frame.shape[0])
    return resize(frame[:side, :side], 512, 512)


source = cropped(image(args.source))
frames = [grid(source, driver, driver // 4, driver) for driver in map(cropped, frames)]
deliver(args.output_path, [*frames[1:], frames[-1]], fps)
