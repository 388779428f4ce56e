"""Motion adapter, the paper's addition to Wan: expression-augmented encoder E_a, Eq. (2, 3); projections, Eq. (4).

Legend: B batch, F video frames, f = (F - 1) / 4 + 1 latent frames, T tokens per frame, L = 4 T + 1 tokens per latent
frame, N people, C token width, D backbone width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fantasyportrait.model.configs import FEATURES, HEAD_DIM, NUM_QUERIES, AdapterConfig

FEED_FORWARD_MULTIPLE = 4


class Resampler(nn.Module):
    """Perceiver resampler: learnable queries that attend to one feature, (B, 1, W) to (B, num_queries, C)."""

    def __init__(self, feature_dim: int, num_queries: int, config: AdapterConfig) -> None:
        super().__init__()
        dim = config.query_dim
        self.queries = nn.Parameter(torch.randn(1, num_queries, dim) / dim**0.5)
        self.proj_in = nn.Linear(feature_dim, dim)
        self.layers = nn.ModuleList(ResamplerLayer(dim) for _ in range(config.depth))
        self.proj_out = nn.Linear(dim, config.token_dim)
        self.norm_out = nn.LayerNorm(config.token_dim)

    def forward(self, feature: Tensor) -> Tensor:  # noqa: D102
        context = self.proj_in(feature)
        queries = self.queries.expand(len(context), -1, -1)
        for layer in self.layers:
            queries = layer(context, queries)
        return self.norm_out(self.proj_out(queries))


class ResamplerLayer(nn.Module):
    """Attention of the queries to the feature and to each other, then a feed-forward network."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm_given, self.norm_queries = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_q, self.to_kv = nn.Linear(dim, dim, bias=False), nn.Linear(dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)
        self.feed = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, FEED_FORWARD_MULTIPLE * dim, bias=False),
            nn.GELU(),
            nn.Linear(FEED_FORWARD_MULTIPLE * dim, dim, bias=False),
        )

    def forward(self, context: Tensor, queries: Tensor) -> Tensor:  # noqa: D102
        normed = self.norm_queries(queries)
        key, value = self.to_kv(torch.cat([self.norm_given(context), normed], 1)).chunk(2, -1)
        heads = (t.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2) for t in (self.to_q(normed), key, value))
        queries = queries + self.to_out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        return queries + self.feed(queries)


class MotionProjection(nn.Module):
    """W^k and W^v of one backbone layer: (..., C) to keys and values (..., D), without normalisation or rotation.

    Initialised with zeros, so that training starts from plain Wan.
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.to_k = nn.Linear(config.token_dim, config.dim, bias=False)
        self.to_v = nn.Linear(config.token_dim, config.dim, bias=False)
        nn.init.zeros_(self.to_k.weight)
        nn.init.zeros_(self.to_v.weight)

    def forward(self, tokens: Tensor, weights: Tensor | float) -> tuple[Tensor, Tensor]:  # noqa: D102
        return self.to_k(tokens), self.to_v(tokens) * weights


class MotionAdapter(nn.Module):
    """Motion adapter with every weight of the released checkpoint, for any row of the paper's Table 3."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.ModuleDict(
            {name: nn.Linear(dim, config.token_dim, bias=False) for name, dim in FEATURES.items()}
        )
        self.norm = nn.LayerNorm(config.token_dim)
        self.augment = nn.ModuleDict(
            {name: Resampler(FEATURES[name], NUM_QUERIES[name], config) for name in config.augmented}
        )
        self.layers = nn.ModuleList(MotionProjection(config) for _ in range(config.num_layers))

    def tokens(self, features: Tensor) -> Tensor:
        """Compute the motion embedding e_m of Eq. (2): (B, F, 554) to (B, F, T, C)."""
        parts = dict(zip(FEATURES, features.flatten(0, 1).unsqueeze(1).split(list(FEATURES.values()), -1), strict=True))
        linear = [self.norm(self.linear[name](part)) for name, part in parts.items()]
        augmented = [self.augment[name](parts[name]) for name in self.config.augmented]
        return torch.cat([*linear, *augmented], 1).unflatten(0, features.shape[:2])  # Eq. (2)

    def embed(self, features: Tensor) -> Tensor:
        """Compute the multi-portrait embedding of Eq. (3).

        Args:
            features: (B, N, F, 554), one row per person; (N, F, 554) is a batch of one.

        Returns:
            (B, f, N L, C); people are concatenated along the tokens.
        """
        features = features.unflatten(0, (1, -1)) if features.dim() == 3 else features
        windows = latent_windows(self.tokens(features.flatten(0, 1))).unflatten(0, features.shape[:2])
        return windows.transpose(1, 2).flatten(2, 3)  # Eq. (3)

    def forward(self, features: Tensor, weights: Tensor | float = 1.0) -> list[tuple[Tensor, Tensor]]:
        """Compute the motion keys and values of every layer, Eq. (2) to (4); gradients reach all weights.

        Args:
            features: (B, N, F, 554), or (N, F, 554) for a batch of one.
            weights: scale of each token's value, see `token_weights`.

        Returns:
            (key, value) of each layer, (B, f, N L, D) each.
        """
        embedding = self.embed(features)
        return [layer(embedding, weights) for layer in self.layers]

    def token_weights(self, strengths: dict[str, float], num_frames: int) -> Tensor:
        """Return the scale of each token's value, (f, L, 1), from the scale of each feature (1 if absent)."""
        scales = torch.tensor([float(strengths.get(name, 1.0)) for name in self.config.token_features])
        return latent_windows(scales.view(1, 1, -1, 1).expand(1, num_frames, -1, -1))[0]


def latent_windows(tokens: Tensor) -> Tensor:
    """Gather the tokens that each latent frame attends to: (B, F, T, C) to (B, f, 4 T + 1, C), with F = 4 k + 1.

    Latent frame i > 0 covers video frames 4 i - 3 ... 4 i; its window is the last token of the frame before, then their
    tokens. Latent frame 0 has the tokens of frame 0, then zeros that take part in the attention. Both are as the
    published weights were trained.

    Raises:
        ValueError: F is not 4 k + 1.
    """
    num_frames, num_tokens = tokens.shape[1:3]
    if num_frames % 4 != 1:
        raise ValueError(f"{num_frames} frames do not fill whole latent frames; expected 4 k + 1")
    step = 4 * num_tokens
    first = F.pad(tokens[:, :1].flatten(1, 2), (0, 0, 0, step + 1 - num_tokens)).unsqueeze(1)
    if num_frames == 1:
        return first
    rest = tokens.flatten(1, 2)[:, num_tokens - 1 :].unfold(1, step + 1, step).transpose(2, 3)
    return torch.cat([first, rest], 1)
