"""Plot of a run's losses as PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.media import write_image
from fantasyportrait.training.run_log import read_metrics

SIZE = (900, 560)  # width, height
MARGINS = (80, 30, 30, 60)  # left, top, right, bottom
COLOURS = {"training": (150, 170, 200), "true": (30, 120, 60), "shuffled": (200, 90, 30), "dropped": (120, 60, 150)}
SMOOTHING = 25

Curve = list[tuple[float, float]]


def write_loss_curve(run: Path, path: Path) -> None:
    """Write the training loss (a moving mean) and the validation losses with each kind of expression."""
    write_image(path, draw_curves(collect_curves(read_metrics(run))))


def collect_curves(lines: Sequence[dict[str, Any]]) -> dict[str, Curve]:
    """Return (step, loss) of the training loss, as a moving mean, and of each validation loss."""
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    curves: dict[str, Curve] = {"training": _smooth(losses)}
    for line in lines:
        for kind, value in line.get("validation", {}).items():
            curves.setdefault(kind, []).append((line["step"], value))
    return curves


def _smooth(points: Curve) -> Curve:
    values = [value for _, value in points]
    spans = [values[max(0, i - SMOOTHING + 1) : i + 1] for i in range(len(values))]
    return [(step, float(np.mean(span))) for (step, _), span in zip(points, spans, strict=True)]


def draw_curves(curves: dict[str, Curve]) -> np.ndarray:
    """Draw curves with axes and a legend, (H, W, 3) uint8; the high losses of the first steps are cut off."""
    import cv2

    points = [point for curve in curves.values() for point in curve]
    validation = [value for name, curve in curves.items() if name != "training" for _, value in curve]
    highest = max(value for _, value in points)
    right, top = max(step for step, _ in points), 1.05 * min(highest, 1.5 * max(validation, default=highest))
    image = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)

    def place(step: float, value: float) -> tuple[int, int]:
        width, height = SIZE[0] - MARGINS[0] - MARGINS[2], SIZE[1] - MARGINS[1] - MARGINS[3]
        return round(MARGINS[0] + width * step / right), round(SIZE[1] - MARGINS[3] - height * min(value / top, 1))

    def write(text: str, at: tuple[int, int], colour: tuple[int, ...] = (60, 60, 60)) -> None:
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)

    for i in range(6):
        value, step = top * i / 5, right * i / 5
        cv2.line(image, place(0, value), place(right, value), (225, 225, 225), 1)
        write(f"{value:.2f}", (15, place(0, value)[1] + 5))
        write(f"{step:.0f}", (place(step, 0)[0] - 15, SIZE[1] - MARGINS[3] + 22))
    write("step", (SIZE[0] // 2, SIZE[1] - 12))
    for i, (name, curve) in enumerate(curves.items()):
        line = np.array([place(*point) for point in curve], np.int32)
        cv2.polylines(image, [line], isClosed=False, color=COLOURS[name], thickness=2, lineType=cv2.LINE_AA)
        label = "training loss" if name == "training" else f"validation, {name} expressions"
        write(label, (SIZE[0] - 290, MARGINS[1] + 20 + 22 * i), COLOURS[name])
    return image
