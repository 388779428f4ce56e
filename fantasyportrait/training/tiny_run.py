"""Model of the `tiny` recipe, and the video at its end.

The weights of its encoders are random: features of crops then still vary with the expression. Its VAE is a linear
autoencoder of patches, fitted to the clips.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from exprbench.core.files import write_json
from exprbench.media import open_clip, write_image
from fantasyportrait.checkpoints.random_init import write_random_model
from fantasyportrait.checkpoints.tensors import save_tensors
from fantasyportrait.model.patch_autoencoder import PatchAutoencoder
from fantasyportrait.training.clip_encoder import nearest_size
from fantasyportrait.training.clip_sources import ClipFile
from fantasyportrait.training.training_config import TrainingConfig

MAX_SEGMENTS = 16  # of each video, to which the autoencoder is fitted


def write_tiny_model(folder: Path, clips: Sequence[ClipFile], config: TrainingConfig) -> None:
    """Write a model folder of random weights with an autoencoder of patches fitted to clips, unless it is there."""
    if (folder / "fantasyportrait.json").is_file():
        return
    write_random_model(folder, config.size, config.seed)
    segments = [segment for clip in clips for segment in islice(_segments(clip.path, config), MAX_SEGMENTS)]
    vae = PatchAutoencoder().fit(np.stack(segments))
    save_tensors(folder / "base/vae/diffusion_pytorch_model.safetensors", vae.state_dict())
    write_json(folder / "base/vae/config.json", {"_class_name": "PatchAutoencoder"})


def _segments(path: Path, config: TrainingConfig) -> Iterator[np.ndarray]:
    frames: list[np.ndarray] = []
    with open_clip(path, fps=config.fps) as video:
        for frame in video:
            frames.append(nearest_size((frame.shape[1], frame.shape[0]), config.sizes[:1]).apply(frame))
            if len(frames) == config.num_frames:
                yield np.stack(frames)
                frames = []


def sample_tiny(config: TrainingConfig, out: Path, driver: Path) -> Path:
    """Animate the person of a video by the video itself with the trained model; return the path of the result."""
    from fantasyportrait.sampling import sample

    return sample(
        model=out / "model", portrait=_portrait_of(driver, out), drivers=[driver], out=out / "validation.mp4",
        size="x".join(map(str, config.sizes[0])), frames=config.num_frames, fps=config.fps, expression_guidance=1.0,
        overwrite=True, runtime={"device": "cpu"},
    )  # fmt: skip


def _portrait_of(driver: Path, out: Path) -> Path:
    """Return the drawn portrait of a drawn person, with its face track, or the first frame of another video."""
    drawn = driver.parents[1] / "portraits" / f"{driver.stem.rpartition('-')[0]}.png"
    if drawn.is_file():
        return drawn
    with open_clip(driver, max_frames=1) as video:
        write_image(out / "portrait.png", next(iter(video)))
    return out / "portrait.png"
