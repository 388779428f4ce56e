"""Model of the `tiny` recipe, and the video at its end.

The weights of its encoders are random; features of crops still vary with the expression, and are normalised to mean 0
and variance 1 over the clips. Its VAE is a linear autoencoder of patches, fitted to the clips.
"""

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from exprbench.core.errors import UserError
from exprbench.core.files import sha256_path, write_json
from exprbench.media import open_clip, write_image
from fantasyportrait.checkpoints.layout import EXPRESSION_FILE
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.checkpoints.random_init import write_random_model
from fantasyportrait.checkpoints.tensors import save_tensors
from fantasyportrait.model.patch_autoencoder import PatchAutoencoder
from fantasyportrait.training.clip_encoder import ENCODING_ERRORS, ClipEncoder, EncodingConfig, nearest_size
from fantasyportrait.training.clip_sources import ClipFile
from fantasyportrait.training.training_config import TrainingConfig

OUTPUT_LAYERS = {"headpose_embed.1": 6, "eye_embed.1": 6, "emo_embed.1": 30, "to_mouth.3": 512}
MAX_SEGMENTS = 16  # of each video, to which the autoencoder is fitted


def write_tiny_model(folder: Path, clips: Sequence[ClipFile], config: TrainingConfig) -> None:
    """Write a model folder of random weights with an autoencoder of patches fitted to clips, unless it is there.

    Raises:
        UserError: no clip can be read.
    """
    if folder.is_dir():
        return
    partial = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    write_random_model(partial, config.size, config.seed)
    vae = PatchAutoencoder().fit(_read_segments(clips, config))
    save_tensors(partial / "base/vae/diffusion_pytorch_model.safetensors", vae.state_dict())
    write_json(partial / "base/vae/config.json", {"_class_name": "PatchAutoencoder"})
    normalise_expressions(ModelFolder(partial), clips, config)
    partial.rename(folder)


def normalise_expressions(folder: ModelFolder, clips: Sequence[ClipFile], config: TrainingConfig) -> None:
    """Change the last layers of a folder's expression encoder: each feature gets mean 0 and variance 1 over clips."""
    encoder = ClipEncoder(folder, EncodingConfig(sizes=config.sizes, num_frames=config.num_frames, fps=config.fps))
    found = list(_features(encoder, clips))
    if not found:
        return
    features = np.concatenate(found)
    tensors = dict(folder.expression_tensors())
    mean, std = (torch.from_numpy(v) for v in (features.mean(0), features.std(0).clip(1e-6)))
    for (name, size), start in zip(OUTPUT_LAYERS.items(), (0, 6, 12, 42), strict=True):
        part = slice(start, start + size)
        tensors[f"{name}.weight"] = tensors[f"{name}.weight"] / std[part, None]
        tensors[f"{name}.bias"] = (tensors[f"{name}.bias"] - mean[part]) / std[part]
    path = folder.path / EXPRESSION_FILE
    save_tensors(path, tensors)
    folder.write_manifest({**folder.manifest, "expression": {"sha256": sha256_path(path)}})


def _features(encoder: ClipEncoder, clips: Sequence[ClipFile]) -> Iterator[np.ndarray]:
    """Yield the features of each video's people, (N F, 554); videos that cannot be encoded are left out."""
    for clip in clips:
        try:
            yield np.concatenate([motion.features for motion in encoder.motions(clip)])
        except ENCODING_ERRORS:
            continue


def _read_segments(clips: Sequence[ClipFile], config: TrainingConfig) -> np.ndarray:
    """Return segments of all videos that can be read, (B, F, H, W, 3).

    Raises:
        UserError: there is none.
    """
    found, reason = [], "all are shorter"
    for clip in clips:
        try:
            found += islice(_segments(clip.path, config), MAX_SEGMENTS)
        except ENCODING_ERRORS as error:
            reason = f"{clip.source}/{clip.name}: {error}"
    if not found:
        raise UserError(f"no video has {config.num_frames} frames that can be read ({reason}); give others")
    return np.stack(found)


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
