"""Draw histograms as SVG."""

from html import escape

from multiexpr.reporting.numbers import Histogram

PLOT_WIDTH, PLOT_HEIGHT = 320, 96


def histogram_svg(histogram: Histogram) -> str:
    """Return a histogram as SVG: passing and failing bins in different colours, the threshold as a line."""
    edges, top = histogram.edges, max(1, int(histogram.counts.max()))
    span = edges[-1] - edges[0]
    rule, bar = histogram.rule, PLOT_WIDTH / len(histogram.counts)
    is_on = histogram.limit != rule.off_at
    parts = []
    for i, count in enumerate(histogram.counts.tolist()):
        middle = (edges[i] + edges[i + 1]) / 2
        fails = is_on and (middle < histogram.limit if rule.at_least else middle > histogram.limit)
        height = max(1.5, PLOT_HEIGHT * count / top) if count else 0
        kind = "out" if fails else "in"
        x, y = i * bar, PLOT_HEIGHT - height
        title = f"<title>{_format(edges[i])} to {_format(edges[i + 1])}: {count:,}</title>"
        parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{bar - 1:.1f}" height="{height:.1f}">{title}</rect>'
        )
    if is_on:
        x = (histogram.limit - edges[0]) / span * PLOT_WIDTH
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="-4" y2="{PLOT_HEIGHT}"/>')
    axis = (
        f'<text x="0" y="{PLOT_HEIGHT + 14}">{_format(edges[0])}</text>'
        f'<text x="{PLOT_WIDTH}" y="{PLOT_HEIGHT + 14}" text-anchor="end">{_format(edges[-1])}</text>'
        f'<line class="axis" x1="0" x2="{PLOT_WIDTH}" y1="{PLOT_HEIGHT}" y2="{PLOT_HEIGHT}"/>'
    )
    label = escape(f"{rule.meaning}: {histogram.num_clips} clips, threshold {histogram.limit:g}")
    box = f'viewBox="-2 -6 {PLOT_WIDTH + 4} {PLOT_HEIGHT + 24}"'
    return f'<svg {box} role="img" aria-label="{label}">{"".join(parts)}{axis}</svg>'


def _format(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
