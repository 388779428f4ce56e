"""Examples of random tensors in the shapes of the tiny model."""

import torch

from fantasyportrait.model.adapter import MotionAdapter
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.model.transformer import build_transformer
from fantasyportrait.training.batches import Example, SampleKey, collate
from fantasyportrait.training.trainable import TrainableModel

TINY = MODEL_CONFIGS["tiny"]


def example(name, num_people=1, seed=0, num_frames=9, side=8):
    g = torch.Generator().manual_seed(seed)
    f = (num_frames - 1) // 4 + 1
    labels = torch.zeros(f, side // 2, side // 2, dtype=torch.uint8)
    for person in range(num_people):
        labels[:, 1:3, person : person + 1] = person + 1
    return Example(
        name=name,
        latents=torch.randn(16, f, side, side, generator=g),
        reference=torch.randn(16, f, side, side, generator=g),
        image=torch.randn(257, TINY.backbone.image_dim, generator=g),
        text=torch.randn(3 + seed % 3, TINY.backbone.text_dim, generator=g),
        features=torch.randn(num_people, num_frames, 554, generator=g),
        labels=labels,
    )


def batch(*people, epoch=0):
    examples = [example(f"clip {i}", n, seed=i) for i, n in enumerate(people)]
    return collate(examples, [SampleKey(e.name, epoch) for e in examples])


def tiny_model(*, zero=False):
    torch.manual_seed(0)
    adapter = MotionAdapter(TINY.adapter)
    if not zero:
        for layer in adapter.layers:
            torch.nn.init.normal_(layer.to_k.weight, std=0.1)
            torch.nn.init.normal_(layer.to_v.weight, std=0.1)
    return TrainableModel(build_transformer(TINY.backbone), adapter)


EMPTY = torch.full((1, 512, TINY.backbone.text_dim), 0.25)
