"""Training examples and batches of them.

Legend: B batch, F video frames, f latent frames, h and w rows and columns of latents, N people.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fantasyportrait.model.attention import NUM_TEXT_TOKENS
from fantasyportrait.model.motion_tokens import mask_padding

Bucket = tuple[int, int, int]  # latent frames, rows and columns of latents


class SampleKey(NamedTuple):
    """Identity of a sample in an epoch, from which its random draws are made; `name` holds the clip's name."""

    name: str
    epoch: int


@dataclass(frozen=True)
class Example:
    """One encoded clip, all tensors in CPU memory.

    Attributes:
        name: unique name of the clip.
        latents: of the video, (16, f, h, w), normalised.
        reference: latents of the reference image followed by grey frames, (16, f, h, w).
        image: CLIP tokens of the reference image, (257, C).
        text: embedding of the caption without padding, (L, text_dim).
        features: expression features of each person, (N, F, 554) float32, left to right.
        labels: face of each token, (f, h / 2, w / 2) uint8; 0 is the background.
    """

    name: str
    latents: Tensor
    reference: Tensor
    image: Tensor
    text: Tensor
    features: Tensor
    labels: Tensor

    @property
    def bucket(self) -> Bucket:
        """Return the size of the latents; the examples of a batch have equal sizes."""
        return tuple(self.latents.shape[1:])  # type: ignore[return-value]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}


@dataclass(frozen=True)
class Batch:
    """Examples of equal size, with people padded to the largest number.

    `portrait` is the image condition (B, 20, f, h, w): 4 mask channels and 16 of latents. `features` is (B, N, F, 554)
    and `counts` (B,) the number of people. The other tensors are those of `Example`, stacked; text is padded.
    """

    keys: tuple[SampleKey, ...]
    latents: Tensor
    portrait: Tensor
    image: Tensor
    text: Tensor
    features: Tensor
    counts: Tensor
    labels: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "Batch":
        """Return a copy on a device; conditions get a data type, latents and features stay in float32."""
        return Batch(
            self.keys,
            self.latents.to(device, torch.float32),
            *(t.to(device, dtype) for t in (self.portrait, self.image, self.text)),
            self.features.to(device),
            self.counts.to(device),
            self.labels.to(device),
        )

    def attention_mask(self, counts: Tensor, *, masked: bool) -> Tensor:
        """Return the mask (B, f, p, N) bool of the people that each token attends to.

        In clips of several people, tokens of a face attend to that person and tokens of the background to all; without
        `masked`, and in clips of one person, all tokens attend to all.

        Args:
            counts: number of people of each sample; those beyond are masked.
            masked: whether faces are separated (MCA).
        """
        num_frames, num_people = self.latents.shape[2], self.features.shape[1]
        labels = self.labels.flatten(2).unsqueeze(-1)  # (B, f, p, 1)
        people = torch.arange(1, num_people + 1, device=labels.device)
        region = (labels == people) | (labels == 0)
        if not masked:
            region = torch.ones_like(region)
        region = region | (self.counts == 1).view(-1, 1, 1, 1)
        return mask_padding(counts, num_frames, num_people, region)

    def shuffle_expressions(self) -> "Batch":
        """Return a copy in which each sample has the features and the number of people of the next one."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Batch(**{**values, "features": self.features.roll(1, 0), "counts": self.counts.roll(1, 0)})

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens of all samples: patches of 1 x 2 x 2 latents."""
        return self.latents[:, 0].numel() // 4


def collate(examples: Sequence[Example], keys: Sequence[SampleKey]) -> Batch:
    """Stack examples of equal size into a batch."""
    num_people = max(len(example.features) for example in examples)
    text = [nn.functional.pad(e.text, (0, 0, 0, NUM_TEXT_TOKENS - len(e.text))) for e in examples]
    features = [nn.functional.pad(e.features, (0, 0, 0, 0, 0, num_people - len(e.features))) for e in examples]
    return Batch(
        keys=tuple(keys),
        latents=torch.stack([e.latents for e in examples]),
        portrait=torch.stack([image_condition_of(e.reference) for e in examples]),
        image=torch.stack([e.image for e in examples]),
        text=torch.stack(text),
        features=torch.stack(features).float(),
        counts=torch.tensor([len(e.features) for e in examples]),
        labels=torch.stack([e.labels for e in examples]),
    )


def image_condition_of(reference: Tensor) -> Tensor:
    """Return the image condition (20, f, h, w) of reference latents (16, f, h, w): the mask is 1 in the first frame."""
    mask = torch.zeros_like(reference[:4])
    mask[:, 0] = 1
    return torch.cat([mask, reference])
