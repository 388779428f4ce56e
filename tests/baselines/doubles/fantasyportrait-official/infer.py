import time
from pathlib import Path

from common import deliver, image, read, resize
from flags import length, parse, rounded

args = parse(multi=False)
assert args.prompt == ""
frames, fps = read(args.driven_video_path)
height, width = rounded(image(args.input_image_path).shape[:2], args.max_size)
source, driver = Path(args.input_image_path), Path(args.driven_video_path)
stamp = time.strftime("%Y%m%d_%H%M%S")
name = f"{stamp}_{source.name}{source.stem[:8]}_{driver.name}{driver.stem[:8]}.mp4"
Path("temp_audio.aac").write_bytes(b"a fixed scratch name")
frames = [resize(frame, width, height) for frame in frames[: length(len(frames), args.num_frames)]]
deliver(f"{args.output_path}/{name}", frames, fps)
