"""Small pictures of clips, and drawings of histograms."""

import base64
from html import escape

import numpy as np

from exprbench.media import VideoSource, open_frames, probe
from multiexpr.reporting.numbers import Histogram

HEIGHT, QUALITY = 108, 72
MOMENTS = {1: (0.5,), 2: (0.25, 0.75), 3: (0.15, 0.5, 0.85)}  # of a clip, side by side
SHOWN_ASPECT = 3.5  # of the moments together
PLOT_WIDTH, PLOT_HEIGHT = 320, 96


def thumbnail(video: VideoSource) -> str:
    """Up to three moments of a clip side by side, as a JPEG in base64; `MediaError` where it cannot be read."""
    import cv2

    facts = probe(video)
    moments = MOMENTS[int(np.clip(SHOWN_ASPECT * facts.height / facts.width, 1, 3))]
    with open_frames(video, [share * facts.duration_s for share in moments], short_side=HEIGHT) as frames:
        shown = [_of_height(frame) for frame in frames]
    _, data = cv2.imencode(".jpg", np.hstack(shown)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return base64.b64encode(data.tobytes()).decode()


def _of_height(frame: np.ndarray) -> np.ndarray:
    import cv2

    width = max(1, round(frame.shape[1] * HEIGHT / frame.shape[0]))
    return cv2.resize(frame, (width, HEIGHT), interpolation=cv2.INTER_AREA)


def draw(histogram: Histogram) -> str:
    """A histogram as SVG: what passes in one colour, what fails in another, the threshold as a line."""
    edges, top = histogram.edges, max(1, int(histogram.counts.max()))
    span = edges[-1] - edges[0]
    rule, bar = histogram.rule, PLOT_WIDTH / len(histogram.counts)
    on = histogram.limit != rule.off_at
    parts = []
    for i, count in enumerate(histogram.counts.tolist()):
        middle = (edges[i] + edges[i + 1]) / 2
        fails = on and (middle < histogram.limit if rule.at_least else middle > histogram.limit)
        height = max(1.5, PLOT_HEIGHT * count / top) if count else 0
        kind = "out" if fails else "in"
        x, y = i * bar, PLOT_HEIGHT - height
        title = f"<title>{_short(edges[i])} to {_short(edges[i + 1])}: {count:,}</title>"
        parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{bar - 1:.1f}" height="{height:.1f}">{title}</rect>'
        )
    if on:
        x = (histogram.limit - edges[0]) / span * PLOT_WIDTH
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="-4" y2="{PLOT_HEIGHT}"/>')
    axis = (
        f'<text x="0" y="{PLOT_HEIGHT + 14}">{_short(edges[0])}</text>'
        f'<text x="{PLOT_WIDTH}" y="{PLOT_HEIGHT + 14}" text-anchor="end">{_short(edges[-1])}</text>'
        f'<line class="axis" x1="0" x2="{PLOT_WIDTH}" y1="{PLOT_HEIGHT}" y2="{PLOT_HEIGHT}"/>'
    )
    label = escape(f"{rule.meaning}: {histogram.num_clips} clips, threshold {histogram.limit:g}")
    box = f'viewBox="-2 -6 {PLOT_WIDTH + 4} {PLOT_HEIGHT + 24}"'
    return f'<svg {box} role="img" aria-label="{label}">{"".join(parts)}{axis}</svg>'


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
