"""Log of a training run: metrics.jsonl, TensorBoard if it is installed, and a progress line."""

import json
import time
from pathlib import Path
from typing import Any

from exprbench.core.progress import say

METRICS_FILE = "metrics.jsonl"
NUM_BINS = 8  # of the noise level, evenly spaced
PEAK_TFLOPS = {"H100": 989, "H200": 989, "A100": 312, "A800": 312, "H800": 989, "L40S": 362, "4090": 165}  # dense bf16


class RunLog:
    """Writer of metrics; what was written after the checkpoint that a run resumes from is removed."""

    def __init__(self, out: Path, *, first_step: int, enabled: bool) -> None:
        self._path, self._enabled, self._board = out / METRICS_FILE, enabled, None
        if not enabled:
            return
        out.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_metrics(out) if line["step"] <= first_step]
        self._path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=first_step + 1)
        except ImportError:
            pass

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append the values of a step; nested dicts become `a/b` in TensorBoard."""
        if not self._enabled:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._board:
            for name, value in _flatten(values):
                self._board.add_scalar(name, value, step)

    def say(self, line: str) -> None:
        """Print a line on standard error, in one process of several."""
        if self._enabled:
            say(line)


def _flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _flatten(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)):
            found.append((f"{prefix}{name}", float(value)))
    return found


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics.jsonl; a last line that was cut off is left out."""
    path, lines = out / METRICS_FILE, []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


class Throughput:
    """Tokens per second, utilisation of the GPU and time left, over the steps since the last report."""

    def __init__(self, peak_flops: float | None) -> None:
        self._peak_flops = peak_flops
        self._start()

    def _start(self) -> None:
        self._tokens, self._flops, self._steps, self._since = 0, 0.0, 0, time.monotonic()

    def update(self, num_tokens: int, flops: float) -> None:
        """Count the tokens and the operations of one step of this process."""
        self._tokens, self._flops, self._steps = self._tokens + num_tokens, self._flops + flops, self._steps + 1

    def report(self, num_remaining: int) -> dict[str, float | None]:
        """Return the rates per process since the last report, and start the next interval."""
        elapsed = max(time.monotonic() - self._since, 1e-9)
        tokens_per_s, steps_per_s = self._tokens / elapsed, self._steps / elapsed
        utilisation = self._flops / elapsed / self._peak_flops if self._peak_flops else None
        self._start()
        return {
            "tokens_per_s": tokens_per_s,
            "utilisation": utilisation,
            "time_left_s": num_remaining / steps_per_s if steps_per_s else None,
        }


def peak_flops(device_name: str) -> float | None:
    """Return the peak bf16 rate of a GPU by its name, in operations per second; None if it is not known."""
    return next((rate * 1e12 for name, rate in PEAK_TFLOPS.items() if name in device_name), None)


def progress_line(step: int, steps: int, values: dict[str, Any]) -> str:
    """Return the progress line of a step."""
    parts = [f"step {step}/{steps}", f"loss {values['loss']:.4f}", f"{values['tokens_per_s']:.0f} tokens/s"]
    if values["utilisation"] is not None:
        parts.append(f"utilisation {values['utilisation']:.0%}")
    parts.append(f"{values['memory_gib']:.1f} GiB")
    if values["time_left_s"] is not None:
        minutes, seconds = divmod(round(values["time_left_s"]), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{hours}:{minutes:02d}:{seconds:02d} left")
    return ", ".join(parts)
