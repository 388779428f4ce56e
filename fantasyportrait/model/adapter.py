"""What the paper adds to Wan: the expression-augmented encoder E_a, Eq. (2) and (3), and the projections of Eq. (4).

Legend: B batch, F video frames, f = (F - 1) / 4 + 1 latent frames, T tokens a frame, L = 4 T + 1 tokens a latent
frame, N people, C token width, D backbone width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fantasyportrait.model.configs import FEATURES, HEAD_DIM, NUM_QUERIES, AdapterConfig

FEED_MULTIPLE = 4


class Resampler(nn.Module):
    """Learnable tokens that ask one feature vector for its parts: (B, 1, W) to (B, num_queries, C)."""

    def __init__(self, width: int, num_queries: int, config: AdapterConfig) -> None:
        super().__init__()
        dim = config.query_dim
        self.queries = nn.Parameter(torch.randn(1, num_queries, dim) / dim**0.5)
        self.proj_in = nn.Linear(width, dim)
        self.layers = nn.ModuleList(ResamplerLayer(dim) for _ in range(config.depth))
        self.proj_out = nn.Linear(dim, config.token_dim)
        self.norm_out = nn.LayerNorm(config.token_dim)

    def forward(self, feature: Tensor) -> Tensor:  # noqa: D102
        given = self.proj_in(feature)
        queries = self.queries.expand(len(given), -1, -1)
        for layer in self.layers:
            queries = layer(given, queries)
        return self.norm_out(self.proj_out(queries))


class ResamplerLayer(nn.Module):
    """The queries attend to the feature and to each other; then a feed-forward."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm_given, self.norm_queries = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_q, self.to_kv = nn.Linear(dim, dim, bias=False), nn.Linear(dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)
        self.feed = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, FEED_MULTIPLE * dim, bias=False),
            nn.GELU(),
            nn.Linear(FEED_MULTIPLE * dim, dim, bias=False),
        )

    def forward(self, given: Tensor, queries: Tensor) -> Tensor:  # noqa: D102
        asking = self.norm_queries(queries)
        key, value = self.to_kv(torch.cat([self.norm_given(given), asking], 1)).chunk(2, -1)
        heads = (t.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2) for t in (self.to_q(asking), key, value))
        queries = queries + self.to_out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        return queries + self.feed(queries)


class MotionProjection(nn.Module):
    """W^k and W^v of one backbone layer: (..., C) to keys and values (..., D), neither normalised nor rotated.

    Zero at the start of training, so that it starts from plain Wan.
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.to_k = nn.Linear(config.token_dim, config.dim, bias=False)
        self.to_v = nn.Linear(config.token_dim, config.dim, bias=False)
        nn.init.zeros_(self.to_k.weight)
        nn.init.zeros_(self.to_v.weight)

    def forward(self, tokens: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        return self.to_k(tokens), self.to_v(tokens) * weights


class MotionAdapter(nn.Module):
    """Everything the released adapter checkpoint holds, for any of the paper's three ways of augmenting."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.ModuleDict(
            {name: nn.Linear(width, config.token_dim, bias=False) for name, width in FEATURES.items()}
        )
        self.norm = nn.LayerNorm(config.token_dim)
        self.augment = nn.ModuleDict(
            {name: Resampler(FEATURES[name], NUM_QUERIES[name], config) for name in config.augmented}
        )
        self.layers = nn.ModuleList(MotionProjection(config) for _ in range(config.num_layers))

    def tokens(self, features: Tensor) -> Tensor:
        """Motion embedding e_m of Eq. (2): (B, F, 554) to (B, F, T, C)."""
        parts = dict(zip(FEATURES, features.flatten(0, 1).unsqueeze(1).split(list(FEATURES.values()), -1), strict=True))
        plain = [self.norm(self.linear[name](part)) for name, part in parts.items()]
        augmented = [self.augment[name](parts[name]) for name in self.config.augmented]
        return torch.cat([*plain, *augmented], 1).unflatten(0, features.shape[:2])  # Eq. (2)

    def embed(self, features: Tensor) -> Tensor:
        """Multi-portrait embedding of Eq. (3): (N, F, 554), one row a person, to (1, f, N L, C)."""
        windows = latent_windows(self.tokens(features))
        return windows.transpose(0, 1).flatten(1, 2).unsqueeze(0)  # Eq. (3)

    def token_weights(self, strengths: dict[str, float], num_frames: int) -> Tensor:
        """How much of each token's value is added, (f, L, 1), from a factor a feature."""
        owners = torch.tensor([float(strengths.get(name, 1.0)) for name in self.config.token_owners])
        return latent_windows(owners.view(1, 1, -1, 1).expand(1, num_frames, -1, -1))[0]


def latent_windows(tokens: Tensor) -> Tensor:
    """The tokens each latent frame attends to: (B, F, T, C) to (B, f, 4 T + 1, C), F = 4 k + 1.

    Latent frame i covers video frames 4 i - 3 ... 4 i; its window is their tokens and, before them, the last token of
    the frame before. Latent frame 0 has the tokens of frame 0 and then zeros, which take part in the attention. Both
    are as the published weights were trained.
    """
    num_frames, per_frame = tokens.shape[1:3]
    if num_frames % 4 != 1:
        raise ValueError(f"{num_frames} frames do not fill whole latent frames; expected 4 k + 1")
    step = 4 * per_frame
    first = F.pad(tokens[:, :1].flatten(1, 2), (0, 0, 0, step + 1 - per_frame)).unsqueeze(1)
    if num_frames == 1:
        return first
    rest = tokens.flatten(1, 2)[:, per_frame - 1 :].unfold(1, step + 1, step).transpose(2, 3)
    return torch.cat([first, rest], 1)
