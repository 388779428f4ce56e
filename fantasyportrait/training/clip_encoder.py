"""Encoding of training clips: latents, text and image embeddings, expression features and face labels of everyone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exprbench.core.errors import ItemError
from exprbench.core.files import sha256_json, sha256_path
from exprbench.media import MediaError, open_clip
from fantasyportrait.checkpoints.loading import (
    load_expression_encoder,
    load_image_encoder,
    load_text_encoder,
    load_vae,
)
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.diffusion.face_masks import trilinear_labels
from fantasyportrait.diffusion.windows import count_latent_frames
from fantasyportrait.expression.driver import FaceMotion, FacePoints, extract_motion, find_faces
from fantasyportrait.model.text_image_encoders import encode_image, encode_prompt, tokenize_prompt
from fantasyportrait.model.vae import VAE_SCALE_FACTOR, encode_video, image_condition
from fantasyportrait.portrait import CropResize, choose_crop_resize
from fantasyportrait.training.batches import Bucket, Example
from fantasyportrait.training.clip_sources import ClipFile
from fantasyportrait.training.draws import draw_uniform

STORED_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True, kw_only=True)
class EncodingConfig:
    """Sizes of training clips and how they are stored.

    `reference` is the frame that serves as the reference image: the clip's `first`, a `random` one of the clip (chosen
    once), or the first of the whole `video`, so that it does not show how the clip begins.
    """

    sizes: tuple[tuple[int, int], ...]
    num_frames: int
    fps: float
    reference: str = "first"
    dtype: str = "bf16"


@dataclass
class ClipEncoder:
    """Frozen encoders of a model folder on a device; each is loaded on first use."""

    folder: ModelFolder
    config: EncodingConfig
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _modules: dict[str, Any] = field(default_factory=dict)
    _texts: dict[str, Tensor] = field(default_factory=dict)

    def _module(self, name: str) -> Any:
        if name not in self._modules:
            base = self.folder.base
            load = {
                "vae": lambda: load_vae(base, device=self.device),
                "image": lambda: load_image_encoder(base, device=self.device),
                "text": lambda: load_text_encoder(base, device=self.device),
                "expression": lambda: load_expression_encoder(self.folder, device=self.device),
            }
            self._modules[name] = load[name]()
        return self._modules[name]

    def identity(self) -> dict[str, Any]:
        """Return everything the encoded values depend on except the video: settings and hashes of the encoders."""
        base = self.folder.base
        parts = {"vae": "VAE", "image": "image encoder"}
        hashes = {name: sha256_json([sha256_path(p) for p in base.files(part)]) for name, part in parts.items()}
        hashes["expression"] = self.folder.manifest["expression"]["sha256"]
        return {"encoders": hashes, **vars(self.config), "sizes": [list(size) for size in self.config.sizes]}

    def encode(self, clip: ClipFile) -> Iterator[Example]:
        """Yield an example for each `num_frames` frames of a video; frames left over at its end are not used.

        Raises:
            ItemError: no face is seen in half of the frames, or the video is shorter than a clip.
            MediaError: the video cannot be read.
        """
        motions = self.motions(clip)
        opening = None
        for i, frames in enumerate(self._segments(clip)):
            opening = frames[0] if opening is None else opening
            yield self._encode_frames(clip, i, frames, opening, motions)

    def encode_segment(self, clip: ClipFile, index: int) -> Example:
        """Return the example of a video's frames from `index * num_frames` on; the video is decoded up to there."""
        segments = self._segments(clip)
        first = next(segments)
        frames = next(islice(segments, index - 1, None)) if index else first
        return self._encode_frames(clip, index, frames, first[0], self.motions(clip))

    def segment_buckets(self, clip: ClipFile) -> list[Bucket]:
        """Return the latent size of each example of a video without encoding it.

        Raises:
            ItemError, MediaError: as for `encode`.
        """
        people = self._find_people(clip)
        with open_clip(clip.path, fps=self.config.fps, max_frames=1) as video:
            frame = next(iter(video))
        width, height = nearest_size((frame.shape[1], frame.shape[0]), self.config.sizes).size
        bucket = (count_latent_frames(self.config.num_frames), height // VAE_SCALE_FACTOR, width // VAE_SCALE_FACTOR)
        return [bucket] * (len(people[0].seen) // self.config.num_frames)

    def _find_people(self, clip: ClipFile) -> list[FacePoints]:
        people = find_faces(clip.path, fps=self.config.fps)
        if len(people[0].seen) < self.config.num_frames:
            raise ItemError("too_short", f"{len(people[0].seen)} frames; expected {self.config.num_frames} or more")
        return people

    def motions(self, clip: ClipFile) -> list[FaceMotion]:
        """Return the expression features and boxes of each person of a video.

        Raises:
            ItemError, MediaError: as for `encode`.
        """
        return extract_motion(
            clip.path,
            self._find_people(clip),
            encoder=self._module("expression"),
            encoder_name=self.folder.manifest["expression"]["sha256"],
            fps=self.config.fps,
        )

    def _segments(self, clip: ClipFile) -> Iterator[list[np.ndarray]]:
        frames: list[np.ndarray] = []
        with open_clip(clip.path, fps=self.config.fps) as video:
            for frame in video:
                frames.append(frame)
                if len(frames) == self.config.num_frames:
                    yield frames
                    frames = []

    def _encode_frames(
        self, clip: ClipFile, index: int, frames: list[np.ndarray], opening: np.ndarray, motions: list[FaceMotion]
    ) -> Example:
        """Encode frames of a video whose first frame is `opening`."""
        span = slice(index * self.config.num_frames, (index + 1) * self.config.num_frames)
        motions = [_slice(motion, span) for motion in motions]
        name = f"{clip.source}/{clip.name}#{index}"
        image_size = frames[0].shape[1], frames[0].shape[0]
        transform = nearest_size(image_size, self.config.sizes)
        video = np.stack([transform.apply(frame) for frame in frames])
        random = int(draw_uniform(0, name, 0, "reference") * len(video))
        references = {"first": frames[0], "random": frames[random], "video": opening}
        reference = transform.apply(references[self.config.reference])
        latents = encode_video(self._module("vae"), video)
        condition = image_condition(self._module("vae"), reference, latents.shape[2])
        boxes = np.stack([transform.transform_boxes(m.boxes.astype(np.float64), image_size) for m in motions])
        dtype = STORED_DTYPES[self.config.dtype]
        return Example(
            name=name,
            latents=latents[0].to("cpu", dtype),
            reference=condition[0, 4:].to("cpu", dtype),
            image=encode_image(self._module("image"), reference)[0].to("cpu", dtype),
            text=self.encode_text(clip.caption).to("cpu", dtype),
            features=torch.from_numpy(np.stack([m.features for m in motions])),
            labels=trilinear_labels(boxes, transform.size, latents.shape[2]).to(torch.uint8),
        )

    def encode_text(self, caption: str) -> Tensor:
        """Return the embedding of a caption without padding, (L, text_dim); captions are embedded once."""
        if caption not in self._texts:
            tokens = tokenize_prompt(caption, self.folder.base.tokenizer)
            embedding = encode_prompt(self._module("text"), tokens)[0]
            length = int(embedding.any(1).nonzero().max()) + 1
            self._texts[caption] = embedding[:length].contiguous().cpu()
        return self._texts[caption]


def nearest_size(image_size: tuple[int, int], sizes: tuple[tuple[int, int], ...]) -> CropResize:
    """Return the transform to the size of nearest aspect ratio; images are cropped, not distorted."""
    ratio = np.log(image_size[0] / image_size[1])
    size = min(sizes, key=lambda s: abs(np.log(s[0] / s[1]) - ratio))
    return choose_crop_resize(image_size, size=size)


def _slice(motion: FaceMotion, span: slice) -> FaceMotion:
    return FaceMotion(features=motion.features[span], boxes=motion.boxes[span], num_filled=motion.num_filled)


ENCODING_ERRORS = (ItemError, MediaError)  # of one clip; it is excluded and counted
