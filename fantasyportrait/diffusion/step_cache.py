"""Step cache: denoising steps in which the blocks of the backbone are skipped, by the rule of MagCache.

MagCache (Ma et al., 2025, arXiv:2506.09045) adds the residual of the blocks, their output minus their input, of the
last computed step instead of running them. How much a residual grows from step to step is measured once per model; the
growth predicts the error of a skipped step. `diffusers.hooks.MagCacheConfig` has the same rule. Its hooks are not used
here: they run compiled blocks eagerly, and they share one set of ratios between all guidance branches. The decisions
here depend on the step and the branch only, so they are equal on all devices and in all windows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fantasyportrait.diffusion.flow_matching import GuidanceBranch
from fantasyportrait.model.block_residual import BlockResidual


@dataclass(frozen=True, kw_only=True)
class MagCacheRule:
    """Settings of MagCache, named as in diffusers, and the measured ratios of each branch."""

    threshold: float
    max_skip_steps: int
    retention_ratio: float
    ratios: Mapping[str, Sequence[float]]

    def skipped_steps(self, branch: str, num_steps: int) -> list[bool]:
        """Return whether each step is skipped; ratios measured with another number of steps are interpolated."""
        ratios = nearest_ratios(self.ratios[branch], num_steps)
        first = max(1, int(self.retention_ratio * num_steps + 0.5))
        ratio, error, num_skipped = 1.0, 0.0, 0
        skipped = [False] * num_steps
        for step in range(first, num_steps):
            ratio, num_skipped = ratio * ratios[step], num_skipped + 1
            error += abs(1 - ratio)
            skipped[step] = error <= self.threshold and num_skipped <= self.max_skip_steps
            if not skipped[step]:
                ratio, error, num_skipped = 1.0, 0.0, 0
        return skipped


def nearest_ratios(ratios: Sequence[float], num_steps: int) -> list[float]:
    """Return ratios for `num_steps` steps, each that of the nearest measured step."""
    if num_steps == 1:
        return [ratios[-1]]
    scale = (len(ratios) - 1) / (num_steps - 1)
    return [ratios[round(step * scale)] for step in range(num_steps)]


@dataclass
class StepCache:
    """Residuals of every window and branch of one clip, and the steps in which they are reused.

    Without a rule every step is computed, and `ratios` are measured.
    """

    num_steps: int
    rule: MagCacheRule | None = None
    num_evaluations: int = 0
    num_skipped: int = 0
    _residuals: dict[tuple[int, str], BlockResidual] = field(default_factory=dict)
    _skipped: dict[str, list[bool]] = field(default_factory=dict)

    def select(self, window: int, branch: GuidanceBranch, step: int) -> BlockResidual:
        """Return the residual of a window and branch, marked for reuse if the blocks are skipped in this step."""
        residual = self._residuals.setdefault((window, branch.name), BlockResidual(measure=self.rule is None))
        residual.reuse = residual.is_stored and self._is_skipped(branch.name, step)
        self.num_evaluations += 1
        self.num_skipped += residual.reuse
        return residual

    def _is_skipped(self, branch: str, step: int) -> bool:
        if self.rule is None:
            return False
        if branch not in self._skipped:
            self._skipped[branch] = self.rule.skipped_steps(branch, self.num_steps)
        return self._skipped[branch][step]

    @property
    def ratios(self) -> dict[str, list[float]]:
        """Return the measured growth of the residual at every step of each branch, the mean over windows."""
        growth: dict[str, list[list[float]]] = {}
        for (_, branch), residual in self._residuals.items():
            growth.setdefault(branch, []).append(residual.growth)
        return {branch: [sum(step) / len(step) for step in zip(*g, strict=True)] for branch, g in growth.items()}
