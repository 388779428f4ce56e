"""What a clip asks of the machine: its windows, the size of its latents, and what the memory planner wants to know."""

from collections.abc import Sequence

from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.diffusion.windows import Window, lay_windows, num_latent_frames
from fantasyportrait.inputs import Inputs
from fantasyportrait.model.vae import SCALE
from fantasyportrait.portrait import fit, parse_size
from fantasyportrait.runtime.memory import Workload
from fantasyportrait.settings import SamplingConfig

LATENT_CHANNELS = 16


def latent_shape(inputs: Inputs) -> tuple[int, ...]:
    """(1, 16, f, h, w) of the whole clip."""
    width, height = inputs.fit.size
    return 1, LATENT_CHANNELS, inputs.num_latent, height // SCALE, width // SCALE


def estimate_workload(folder: ModelFolder, inputs: Inputs, windows: Sequence[Window], num_shards: int) -> Workload:
    """What a scene asks of the machine."""
    return _load(
        folder, inputs.fit.size, windows[0].stop - windows[0].start, len(windows), inputs.num_driven, num_shards
    )


def largest_workload(
    folder: ModelFolder, options: SamplingConfig, num_frames: int, num_people: int, num_shards: int
) -> Workload:
    """What the most demanding of a benchmark's cases can ask."""
    size = fit((1, 1), max_side=options.max_side, size=parse_size(options.size) if options.size else None).size
    windows = windows_of(num_latent_frames(num_frames), options)
    return _load(folder, size, windows[0].stop - windows[0].start, len(windows), num_people, num_shards)


def _load(
    folder: ModelFolder, size: tuple[int, int], num_latent: int, num_windows: int, num_people: int, num_shards: int
) -> Workload:
    width, height = size
    tokens = num_latent * (height // (2 * SCALE)) * (width // (2 * SCALE))
    return Workload(
        backbone=folder.base.backbone,
        adapter=folder.adapter,
        num_tokens=-(-tokens // num_shards),
        num_latent=num_latent,
        num_people=num_people,
        num_windows=num_windows,
        num_pixels=width * height,
    )


def windows_of(num_latent: int, options: SamplingConfig) -> list[Window]:
    """A clip's windows, from lengths in frames."""
    return lay_windows(num_latent, num_latent_frames(options.window), max(1, options.overlap // 4))
