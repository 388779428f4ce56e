import time
from pathlib import Path

import numpy as np
from common import deliver, image, read, resize
from flags import length, parse, rounded

args = parse(multi=True)
drivers = [read(path)[0] for path in args.driven_video_path]
stems = [Path(path).stem for path in args.driven_video_path]
assert len(set(stems)) == len(stems) >= 2
height, width = rounded(image(args.input_image_path).shape[:2], args.max_size)
count = length(min(map(len, drivers)), args.num_frames)
strip = width // len(drivers)
frames = [np.hstack([resize(driver[i], strip, height) for driver in drivers]) for i in range(count)]
Path("driven_video").mkdir()
folder = f"{time.strftime('%Y%m%d_%H%M%S')}_{Path(args.input_image_path).stem}_{'_'.join(stems)}"
deliver(f"{args.output_path}/{folder}/output.mp4", frames, args.fps)
