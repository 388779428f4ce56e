"""Which driver frame each output frame of a method shows."""

from baselines.spec import OutputSpec


def shown_frames(output: OutputSpec, num_frames: int, fps: float) -> list[int]:
    """Return, for each frame of a method's output, the index of the driver frame that it shows; non-decreasing.

    Args:
        num_frames: number of frames of the driver.
        fps: frames per second of the driver as the method gets it.
    """
    limit = min(num_frames, output.max_frames or num_frames)
    if output.frames == "sampled":
        return _sampled(output, limit, fps)
    lengths = {"all": limit, "4k+1": (limit - 1) // 4 * 4 + 1, "4k": limit // 4 * 4}
    return list(range(output.first, lengths[output.frames]))


def _sampled(output: OutputSpec, limit: int, fps: float) -> list[int]:
    step = fps / output.fps
    count = output.count or int((limit - 1 - output.first) / step) + 1
    return [min(limit - 1, output.first + int(k * step + 1e-9)) for k in range(count)]


def covered_frames(shown: list[int], num_frames: int, step: float) -> int:
    """Return how many driver frames, from the first, an output covers: up to half a step after its last frame."""
    return min(num_frames, int(shown[-1] + (step + 1) / 2)) if shown else 0


def nearest_frames(shown: list[int], count: int) -> list[int]:
    """Return, for each of the first `count` driver frames, the output frame that shows the nearest one, the earlier
    of two.
    """
    nearest, k = [], 0
    for frame in range(count):
        while k + 1 < len(shown) and abs(shown[k + 1] - frame) < abs(shown[k] - frame):
            k += 1
        nearest.append(k)
    return nearest
