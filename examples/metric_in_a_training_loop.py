"""Use ExprBench's metrics in a training loop: a toy network learns to reproduce a video.

    python examples/metric_in_a_training_loop.py

Every metric is a `torchmetrics.Metric`: it works with Lightning, in a `MetricCollection`, and over several processes.
"""

import torch
from torchmetrics import MetricCollection

from exprbench.torch import metrics

torch.manual_seed(0)
time, height, width = 8, 32, 32
video = torch.nn.functional.interpolate(torch.rand(time, 3, 4, 4), size=(height, width), mode="bilinear")

network = torch.nn.Sequential(torch.nn.Linear(16, 256), torch.nn.ReLU(), torch.nn.Linear(256, 3 * height * width))
codes = torch.randn(time, 16)
optimizer = torch.optim.Adam(network.parameters(), lr=3e-4)
scores = MetricCollection(metrics(["psnr", "ssim"]))


def frames(images: torch.Tensor) -> torch.Tensor:
    """Return (T, 3, H, W) images in [0, 1] as uint8 frames, which is what the metrics take."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


for step in range(1, 201):
    predicted = network(codes).view_as(video)
    loss = torch.nn.functional.mse_loss(predicted, video)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        scores.update(frames(predicted), frames(video))  # (B, T, 3, H, W) for several videos
        values = scores.compute()
        print(f"step {step}: loss {loss.item():.4f}, PSNR {values['psnr']:.2f} dB, SSIM {values['ssim']:.3f}")
        scores.reset()
