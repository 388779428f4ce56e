"""Size of a clip's computation: its windows, its latents, and the inputs of the memory planner."""

from collections.abc import Sequence

from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.diffusion.flow_matching import guidance_branches
from fantasyportrait.diffusion.windows import Window, count_latent_frames, split_windows
from fantasyportrait.inputs import Inputs
from fantasyportrait.model.vae import VAE_SCALE_FACTOR
from fantasyportrait.portrait import choose_crop_resize, parse_size
from fantasyportrait.runtime.memory import Workload
from fantasyportrait.settings import SamplingConfig

LATENT_CHANNELS = 16


def latent_shape(inputs: Inputs) -> tuple[int, ...]:
    """Return the shape (1, 16, f, h, w) of the whole clip's latents."""
    width, height = inputs.transform.size
    return 1, LATENT_CHANNELS, inputs.num_latent_frames, height // VAE_SCALE_FACTOR, width // VAE_SCALE_FACTOR


def estimate_workload(
    folder: ModelFolder, inputs: Inputs, windows: Sequence[Window], num_shards: int, config: SamplingConfig
) -> Workload:
    """Return the workload of one clip whose tokens are sharded over `num_shards` devices."""
    return _build_workload(folder, inputs.transform.size, windows, inputs.num_driven, num_shards, config)


def largest_workload(
    folder: ModelFolder, config: SamplingConfig, num_frames: int, num_people: int, num_shards: int
) -> Workload:
    """Return an upper bound of the workloads of clips of `num_frames` frames and `num_people` people."""
    size = parse_size(config.size) if config.size else None
    transform = choose_crop_resize((1, 1), max_side=config.max_side, size=size)
    windows = build_windows(count_latent_frames(num_frames), config)
    return _build_workload(folder, transform.size, windows, num_people, num_shards, config)


def _build_workload(
    folder: ModelFolder,
    size: tuple[int, int],
    windows: Sequence[Window],
    num_people: int,
    num_shards: int,
    config: SamplingConfig,
) -> Workload:
    branches = guidance_branches(config.expression_guidance, config.text_guidance)
    width, height = size
    num_latent_frames = windows[0].stop - windows[0].start
    num_tokens = num_latent_frames * (height // (2 * VAE_SCALE_FACTOR)) * (width // (2 * VAE_SCALE_FACTOR))
    return Workload(
        backbone=folder.base.backbone,
        adapter=folder.adapter,
        num_tokens=-(-num_tokens // num_shards),
        num_latent_frames=num_latent_frames,
        num_people=num_people,
        num_windows=len(windows),
        num_pixels=width * height,
        num_residuals=len(windows) * len(branches) if config.cache != "off" else 0,
    )


def build_windows(num_latent_frames: int, config: SamplingConfig) -> list[Window]:
    """Split a clip into windows of the configured length and overlap, which are given in video frames."""
    return split_windows(num_latent_frames, count_latent_frames(config.window), max(1, config.overlap // 4))
